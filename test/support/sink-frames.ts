/**
 * pgoutput messages and frames of ours, written by hand. Guarantee: byte for byte what a walsender (protocol version 1) or our reader
 * would have put into the raw log.
 */
import type { Topic } from '#connectors/change-log/change-log.ts';
import { encodeChunkHeader, encodeJsonFrame, FRAME, type ChunkRowsHeader, type OurMessage } from '#schemas/frame/frame.ts';
import { formatLsn, toLsn, type Lsn } from '#schemas/lsn.ts';
import { identityColumns, type CatalogTable } from '#schemas/table.ts';
import { copyLine } from '#schemas/value/copy-text.ts';

/** Text, null, or undefined for an unchanged TOAST value. */
export type Value = string | number | null | undefined;

function u16(value: number): Buffer {
  const b = Buffer.alloc(2);
  b.writeUInt16BE(value);
  return b;
}

function u32(value: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(value >>> 0);
  return b;
}

function u64(value: bigint): Buffer {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(value);
  return b;
}

const text = (value: string): Buffer => Buffer.from(`${value}\0`, 'utf8');

export function tuple(values: readonly Value[]): Buffer {
  const parts: Buffer[] = [u16(values.length)];
  for (const value of values) {
    if (value === null) parts.push(Buffer.from('n'));
    else if (value === undefined) parts.push(Buffer.from('u'));
    else {
      const bytes = Buffer.from(String(value), 'utf8');
      parts.push(Buffer.from('t'), u32(bytes.length), bytes);
    }
  }
  return Buffer.concat(parts);
}

export function beginFrame(commitLsn: Lsn, commitTime = 0n, xid = 1): Buffer {
  return Buffer.concat([Buffer.from('B'), u64(commitLsn), u64(commitTime), u32(xid)]);
}

export function commitFrame(commitLsn: Lsn, endLsn: Lsn, commitTime = 0n): Buffer {
  return Buffer.concat([Buffer.from('C\0'), u64(commitLsn), u64(endLsn), u64(commitTime)]);
}

export function relationFrame(table: CatalogTable, leaf?: { readonly oid: number; readonly name: string }): Buffer {
  const key = new Set(identityColumns(table) ?? []);
  const columns = table.columns.filter((column) => column.generated === '');
  const described = columns.map((column) => {
    const isKey = table.replicaIdentity === 'f' || key.has(column.name);
    return Buffer.concat([Buffer.from([isKey ? 1 : 0]), text(column.name), u32(column.typeOid), u32(column.typmod)]);
  });
  const name = leaf?.name ?? table.name;
  return Buffer.concat([
    Buffer.from('R'),
    u32(leaf?.oid ?? table.oid),
    text(table.schema),
    text(name),
    Buffer.from(table.replicaIdentity),
    u16(columns.length),
    ...described,
  ]);
}

export function insertFrame(oid: number, row: readonly Value[]): Buffer {
  return Buffer.concat([Buffer.from('I'), u32(oid), Buffer.from('N'), tuple(row)]);
}

/** `old`: the old key (other columns null) when it changed, or the whole old row under REPLICA IDENTITY FULL. */
export function updateFrame(
  oid: number,
  row: readonly Value[],
  old?: { readonly kind: 'K' | 'O'; readonly row: readonly Value[] },
): Buffer {
  const before = old === undefined ? Buffer.alloc(0) : Buffer.concat([Buffer.from(old.kind), tuple(old.row)]);
  return Buffer.concat([Buffer.from('U'), u32(oid), before, Buffer.from('N'), tuple(row)]);
}

export function deleteFrame(oid: number, old: readonly Value[], kind: 'K' | 'O' = 'K'): Buffer {
  return Buffer.concat([Buffer.from('D'), u32(oid), Buffer.from(kind), tuple(old)]);
}

export function truncateFrame(oids: readonly number[]): Buffer {
  return Buffer.concat([Buffer.from('T'), u32(oids.length), Buffer.from([0]), ...oids.map(u32)]);
}

export function messageFrame(our: OurMessage): Buffer {
  const content = Buffer.from(JSON.stringify(our), 'utf8');
  return Buffer.concat([Buffer.from('M'), Buffer.from([1]), u64(0n), text('crossfade'), u32(content.length), content]);
}

export function chunkFrame(
  header: Omit<ChunkRowsHeader, 'rows' | 'chunk' | 'truncate' | 'recopy' | 'last'> & Partial<ChunkRowsHeader>,
  rows: readonly (readonly Value[])[],
): Buffer {
  const lines = Buffer.from(rows.map((row) => copyLine(row.map((value) => (value === null ? null : String(value))))).join(''), 'utf8');
  return Buffer.concat([
    encodeChunkHeader({ chunk: 'c', truncate: false, recopy: false, last: true, ...header, rows: rows.length }),
    lines,
  ]);
}

/** Appends transactions to a raw topic with LSNs of its own making. */
export class LogWriter {
  readonly #raw: Topic;
  readonly #progress: Topic;
  #lsn = 0x1000n;

  constructor(raw: Topic, progress: Topic) {
    this.#raw = raw;
    this.#progress = progress;
  }

  /** Exclusive end of the last transaction. */
  get end(): Lsn {
    return toLsn(this.#lsn);
  }

  /** @returns the transaction's end. */
  async transaction(...frames: readonly Buffer[]): Promise<Lsn> {
    await this.append(this.frames(frames));
    return this.end;
  }

  /** Several transactions in one append. */
  async transactions(many: readonly (readonly Buffer[])[]): Promise<Lsn> {
    await this.append(many.flatMap((frames) => this.frames(frames)));
    return this.end;
  }

  /** The frames of one transaction, Begin and Commit included. */
  frames(frames: readonly Buffer[]): Buffer[] {
    const commit = toLsn(this.#lsn + 0x10n);
    this.#lsn += 0x30n;
    return [beginFrame(commit, this.#lsn), ...frames, commitFrame(commit, this.end, this.#lsn)];
  }

  async state(table: CatalogTable, state: 'waiting' | 'copying' | 'following' | 'held'): Promise<void> {
    await this.append([encodeJsonFrame(FRAME.tableState, { schema: table.schema, table: table.name, state })]);
  }

  async copyComplete(): Promise<void> {
    await this.append([encodeJsonFrame(FRAME.copyComplete, { lsn: formatLsn(this.end) })]);
  }

  async epoch(epoch: number): Promise<void> {
    await this.append([encodeJsonFrame(FRAME.epoch, { epoch, systemId: '1', timeline: 1 })]);
  }

  async relation(frame: Buffer): Promise<void> {
    const record = { t: 'relation', offset: this.#raw.end(0), oid: frame.readUInt32BE(1), frame: frame.toString('base64') };
    await this.#progress.append(0, batch([Buffer.from(JSON.stringify(record), 'utf8')]));
  }

  async append(frames: readonly Buffer[]): Promise<void> {
    for (const frame of frames) if (frame[0] === 0x52) await this.relation(frame);
    await this.#raw.append(0, batch(frames));
  }
}

function batch(frames: readonly Buffer[]): { readonly count: number; readonly parts: readonly Buffer[] } {
  return { count: frames.length, parts: frames.flatMap((frame) => [u32(frame.length), frame]) };
}
