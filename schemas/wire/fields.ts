/** A row as fields. Guarantee: room for as many as asked for, none of them set. */
import type { RowFields } from './wire.ts';

const NOTHING = Buffer.alloc(0);

/** Room for a row's fields; to be used again for the next row. */
export function makeRowFields(columns: number): RowFields {
  return { buffer: NOTHING, from: new Int32Array(columns), length: new Int32Array(columns) };
}
