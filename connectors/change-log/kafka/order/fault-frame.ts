/**
 * Rows that could not be mapped, as frames again. Guarantee: the frame names the row by what its record said of it, so that the sink blocks
 * that key, as it does where it maps rows itself.
 */
import { encodeUnmappedHead, type UnmappedLine } from '#schemas/frame/frame.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { EVENT } from '#schemas/order/event-header.ts';
import { decodeFault, type FaultRow } from '#schemas/order/fault-header.ts';
import { TAG } from '#schemas/pgoutput/message.ts';
import { makeRowFields } from '#schemas/wire/fields.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from '#schemas/wire/wire.ts';
import type { FrameWriter } from './frame-writer.ts';
import type { MappedRow } from './row-buffer.ts';

const KIND_NEW = 0x4e; // N
const KIND_OLD = 0x4f; // O

/** Writes the content of its record; `oldKey` writes that of a key change, where it is one. */
export function writeFault(
  row: MappedRow & { readonly fault: Buffer },
  { mapping, oid, oldKey }: { readonly mapping: TableMapping; readonly oid: number; readonly oldKey: () => void },
  writer: FrameWriter,
): void {
  const event = decodeFault(row.fault);
  const order = Int32Array.from(mapping.columns.keys());
  const tuple = (kind: number, texts: FaultRow): void => writer.tuple(kind, fieldsOf(texts, mapping), order);
  const { code, message } = event;
  writer.bytes(encodeUnmappedHead({ code, message }));
  if (event.op === 'd') {
    writer.head(TAG.delete, oid);
    tuple(KIND_OLD, event.row);
    return;
  }
  const moved = (row.flags & EVENT.movedHere) !== 0;
  writer.head(moved || event.op === 'u' ? TAG.update : TAG.insert, oid);
  if (event.old !== undefined && (moved || event.op === 'u')) tuple(KIND_OLD, event.old);
  else if (moved) oldKey();
  tuple(KIND_NEW, event.row);
}

export function faultLine({ columns }: TableMapping, fault: Buffer): UnmappedLine {
  const { code, message, row } = decodeFault(fault);
  const told = columns.filter(({ target }) => row[target] !== undefined);
  return { fault: { code, message }, values: Object.fromEntries(told.map(({ source, target }) => [source.name, row[target]!])) };
}

function fieldsOf(texts: FaultRow, { columns }: TableMapping): RowFields {
  const values = columns.map(({ target }) => texts[target]);
  const buffer = Buffer.from(values.map((value) => value ?? '').join(''), 'utf8');
  const fields = { ...makeRowFields(columns.length), buffer };
  let at = 0;
  values.forEach((value, i) => {
    const bytes = value === undefined ? ABSENT_FIELD : value === null ? NULL_FIELD : Buffer.byteLength(value);
    fields.from[i] = at;
    fields.length[i] = bytes;
    at += Math.max(0, bytes);
  });
  return fields;
}
