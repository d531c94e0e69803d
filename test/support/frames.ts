/** pgoutput messages written by hand, byte for byte as protocol version 1 has them, for tests that need no server. */
import { MESSAGE_PREFIX, type OurMessage } from '#schemas/frame/frame.ts';

/** undefined = absent (unchanged TOAST). */
export type Values = readonly (string | null | undefined)[];

class Writer {
  readonly #parts: Buffer[] = [];

  text(value: string): this {
    this.#parts.push(Buffer.from(value, 'latin1'));
    return this;
  }

  name(value: string): this {
    this.#parts.push(Buffer.from(`${value}\0`, 'utf8'));
    return this;
  }

  byte(value: number): this {
    this.#parts.push(Buffer.from([value]));
    return this;
  }

  int16(value: number): this {
    const b = Buffer.alloc(2);
    b.writeUInt16BE(value);
    this.#parts.push(b);
    return this;
  }

  int32(value: number): this {
    const b = Buffer.alloc(4);
    b.writeInt32BE(value | 0);
    this.#parts.push(b);
    return this;
  }

  int64(value: bigint): this {
    const b = Buffer.alloc(8);
    b.writeBigInt64BE(value);
    this.#parts.push(b);
    return this;
  }

  bytes(value: Buffer): this {
    this.#parts.push(value);
    return this;
  }

  tuple(values: Values): this {
    this.int16(values.length);
    for (const value of values) {
      if (value === null) this.text('n');
      else if (value === undefined) this.text('u');
      else {
        const bytes = Buffer.from(value, 'utf8');
        this.text('t').int32(bytes.length).bytes(bytes);
      }
    }
    return this;
  }

  done(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

export function begin(commitLsn: bigint, xid = 700, commitTime = 0n): Buffer {
  return new Writer().text('B').int64(commitLsn).int64(commitTime).int32(xid).done();
}

export function commit(commitLsn: bigint, endLsn: bigint, commitTime = 0n): Buffer {
  return new Writer().text('C').byte(0).int64(commitLsn).int64(endLsn).int64(commitTime).done();
}

export interface RelationText {
  readonly oid: number;
  readonly schema?: string;
  readonly name: string;
  readonly identity?: 'd' | 'i' | 'f' | 'n';
  readonly columns: readonly { readonly name: string; readonly key?: boolean; readonly typeOid?: number; readonly typmod?: number }[];
}

export function relation(r: RelationText): Buffer {
  const w = new Writer()
    .text('R')
    .int32(r.oid)
    .name(r.schema ?? 'public')
    .name(r.name)
    .text(r.identity ?? 'd')
    .int16(r.columns.length);
  for (const c of r.columns)
    w.byte(c.key ? 1 : 0)
      .name(c.name)
      .int32(c.typeOid ?? 25)
      .int32(c.typmod ?? -1);
  return w.done();
}

export function insert(oid: number, values: Values): Buffer {
  return new Writer().text('I').int32(oid).text('N').tuple(values).done();
}

/** `old`: with kind K (key columns of a changed key) or O (full row). */
export function update(oid: number, values: Values, old?: { readonly kind: 'K' | 'O'; readonly values: Values }): Buffer {
  const w = new Writer().text('U').int32(oid);
  if (old) w.text(old.kind).tuple(old.values);
  return w.text('N').tuple(values).done();
}

export function remove(oid: number, values: Values, kind: 'K' | 'O' = 'K'): Buffer {
  return new Writer().text('D').int32(oid).text(kind).tuple(values).done();
}

export function truncate(oids: readonly number[], options = 0): Buffer {
  const w = new Writer().text('T').int32(oids.length).byte(options);
  for (const oid of oids) w.int32(oid);
  return w.done();
}

export function origin(name: string, lsn = 0n): Buffer {
  return new Writer().text('O').int64(lsn).name(name).done();
}

/** One of our own transactional logical messages. */
export function ourMessage(content: OurMessage, lsn = 1n): Buffer {
  return logicalMessage(MESSAGE_PREFIX, JSON.stringify(content), lsn);
}

export function logicalMessage(prefix: string, content: string, lsn = 1n): Buffer {
  const bytes = Buffer.from(content, 'utf8');
  return new Writer().text('M').byte(1).int64(lsn).name(prefix).int32(bytes.length).bytes(bytes).done();
}

/** Length-prefixed records, as a batch of the change log holds them. */
export function records(frames: readonly Buffer[]): Buffer {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const prefix = Buffer.alloc(4);
      prefix.writeUInt32BE(frame.length);
      return [prefix, frame];
    }),
  );
}
