/** The canonical row text and its digest, written a second time without SQL: what connectors/probe computes has to agree with this. */
import { createHash } from 'node:crypto';

/** Netstrings: `-` for NULL, `<characters>:<text>` else; a character is a code point, as PostgreSQL's length() counts in UTF-8. */
export function netstringRow(values: readonly (string | null)[]): string {
  return values.map((value) => (value === null ? '-' : `${codePoints(value)}:${value}`)).join('');
}

/** ROW(…)::text. */
export function recordRow(values: readonly (string | null)[]): string {
  return `(${values.map((value) => (value === null ? '' : recordField(value))).join(',')})`;
}

/** The two 56-bit lanes of a netstring row's SHA-256. */
export function shaLanes(salt: string, text: string): { readonly a: bigint; readonly b: bigint } {
  const hash = createHash('sha256').update(`${salt}r${text}`, 'utf8').digest();
  return { a: BigInt(`0x${hash.toString('hex', 0, 7)}`), b: BigInt(`0x${hash.toString('hex', 7, 14)}`) };
}

const RECORD_SPECIAL = /[\s"\\(),]/;

function recordField(value: string): string {
  if (value !== '' && !RECORD_SPECIAL.test(asciiOnly(value))) return value;
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '""')}"`;
}

/** record_out quotes ASCII blanks; JavaScript's \s knows many more. */
function asciiOnly(value: string): string {
  // oxlint-disable-next-line no-control-regex -- everything above ASCII is taken out
  return value.replaceAll(/[^\x00-\x7f]/g, '');
}

function codePoints(value: string): number {
  let count = 0;
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (unit < 0xdc00 || unit > 0xdfff) count++;
  }
  return count;
}
