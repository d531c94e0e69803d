/** The bitmap of absent fields. Guarantee: empty when none is; bit i of byte i>>3 is field i. */
import { ABSENT_FIELD, type RowFields } from './wire.ts';

const NONE = Buffer.alloc(0);

export function absentFields(row: RowFields | undefined, count: number): Buffer {
  if (row === undefined) return NONE;
  const { length } = row;
  let bitmap: Buffer | undefined;
  for (let i = 0; i < count; i++) {
    if (length[i] !== ABSENT_FIELD) continue;
    bitmap ??= Buffer.alloc((count + 7) >> 3);
    bitmap[i >> 3]! |= 1 << (i & 7);
  }
  return bitmap ?? NONE;
}
