/** Forms of canonical text (SPEC.md). Guarantee: what a form takes off is what the target's SQL takes off of the same text. */

/** `scaled`: numeric without its trailing zeros. `unpadded`: char(n) without its trailing blanks. */
export type ValueForm = 'exact' | 'scaled' | 'unpadded';

const ZERO = 0x30;
const POINT = 0x2e;
const BLANK = 0x20;

/** Where the canonical text of bytes [start, end) ends. */
export function canonicalEnd(form: ValueForm, bytes: Buffer, start: number, end: number): number {
  let last = end;
  if (form === 'unpadded') while (last > start && bytes[last - 1] === BLANK) last--;
  if (form !== 'scaled') return last;
  const point = bytes.indexOf(POINT, start);
  if (point < 0 || point >= end) return end;
  while (bytes[last - 1] === ZERO) last--;
  return last - 1 === point ? point : last;
}
