/**
 * One-dimensional array literals, as parameters of `unnest($1::type[])`. Guarantee: array_in gives back exactly these element texts
 * for every type whose delimiter is a comma (all but box, whose arrays use a semicolon: see `delimiter`).
 */

const SPECIAL = /["\\]/g;

/** Elements are always quoted, so that `NULL`, the empty text and blanks stay what they are. */
export function arrayLiteral(values: readonly (string | null)[], delimiter: ',' | ';' = ','): string {
  let text = '{';
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (i > 0) text += delimiter;
    if (value === null) text += 'NULL';
    else text += `"${value.includes('"') || value.includes('\\') ? value.replaceAll(SPECIAL, String.raw`\$&`) : value}"`;
  }
  return `${text}}`;
}
