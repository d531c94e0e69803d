/** What stands in the raw log, taken apart and put together by whoever corrupts it. Guarantee: nothing here is shared with verify. */
import { deleteFrame, insertFrame, updateFrame, type Value } from '#test/support/sink-frames.ts';

export type Row = readonly (string | null | undefined)[];

export interface RowMessage {
  readonly tag: 'I' | 'U' | 'D';
  readonly oid: number;
  readonly oldKind: 'K' | 'O' | undefined;
  readonly old: Row | undefined;
  readonly next: Row | undefined;
}

export interface Description {
  readonly oid: number;
  readonly table: string;
  readonly columns: readonly string[];
}

export function tagOf(frame: Buffer): string {
  return String.fromCharCode(frame[0]!);
}

export function parseRow(frame: Buffer): RowMessage {
  const tag = tagOf(frame) as RowMessage['tag'];
  let parsed: RowMessage = { tag, oid: frame.readUInt32BE(1), oldKind: undefined, old: undefined, next: undefined };
  let at = 5;
  while (at < frame.length) {
    const kind = String.fromCharCode(frame[at]!);
    const { values, end } = parseTuple(frame, at + 1);
    parsed = kind === 'N' ? { ...parsed, next: values } : { ...parsed, oldKind: kind as 'K' | 'O', old: values };
    at = end;
  }
  return parsed;
}

function parseTuple(frame: Buffer, start: number): { readonly values: Row; readonly end: number } {
  const values: (string | null | undefined)[] = [];
  let at = start + 2;
  for (let left = frame.readUInt16BE(start); left > 0; left--) {
    const kind = String.fromCharCode(frame[at++]!);
    if (kind !== 't') {
      values.push(kind === 'n' ? null : undefined);
      continue;
    }
    const end = at + 4 + frame.readUInt32BE(at);
    values.push(frame.toString('utf8', at + 4, end));
    at = end;
  }
  return { values, end: at };
}

export function rowFrame({ tag, oid, oldKind = 'K', old, next }: RowMessage): Buffer {
  if (tag === 'I') return insertFrame(oid, next as readonly Value[]);
  if (tag === 'D') return deleteFrame(oid, old as readonly Value[], oldKind);
  return updateFrame(oid, next as readonly Value[], old && { kind: oldKind, row: old });
}

export function parseDescription(frame: Buffer): Description {
  const schemaEnd = frame.indexOf(0, 5);
  const tableEnd = frame.indexOf(0, schemaEnd + 1);
  const columns: string[] = [];
  // Behind the name: replica identity, number of columns; of each a flag, its name, type and typmod.
  let at = tableEnd + 4;
  for (let left = frame.readUInt16BE(tableEnd + 2); left > 0; left--) {
    const end = frame.indexOf(0, at + 1);
    columns.push(frame.toString('utf8', at + 1, end));
    at = end + 9;
  }
  return { oid: frame.readUInt32BE(1), table: frame.toString('utf8', schemaEnd + 1, tableEnd), columns };
}

export interface Chunk {
  readonly header: { readonly table: string; readonly columns: readonly string[]; readonly rows: number };
  /** COPY text, each with its line feed. */
  readonly lines: readonly string[];
}

export function parseChunk(frame: Buffer): Chunk {
  const end = 5 + frame.readUInt32BE(1);
  const header = JSON.parse(frame.toString('utf8', 5, end)) as Chunk['header'];
  return { header, lines: frame.toString('utf8', end).split(/(?<=\n)/) };
}

export function chunkFrameOf({ header, lines }: Chunk, more: Readonly<Record<string, unknown>> = {}): Buffer {
  const json = Buffer.from(JSON.stringify({ ...header, rows: lines.length, ...more }), 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([Buffer.from('k'), length, json, Buffer.from(lines.join(''), 'utf8')]);
}
