/**
 * Errors of servers without the values of rows that they quote. Guarantee: pure; names of tables, columns and constraints stay, so that what was wrong can still be
 * found; a document that goes to other people names nobody whom a row is about.
 */

/** How PostgreSQL quotes what it could not take. */
const QUOTED: readonly (readonly [found: RegExp, put: string])[] = [
  // Key (email)=(ada@example.org) already exists; Key (id)=(7) is still referenced …
  [/\)=\(.*?\)(?=[\s.,;]|$)/g, ')=(…)'],
  // Failing row contains (7, Ada, …).
  [/contains \(.*\)/g, 'contains (…)'],
  // invalid input syntax for type integer: "ada"; invalid input value for enum mood: "?"
  [/: "(?:[^"]|"")*"/g, ': "…"'],
  // value "99999" is out of range for type smallint
  [/\bvalue "(?:[^"]|"")*"/g, 'value "…"'],
  [/[^\s@"'(<]+@[^\s@"')>]+\.[a-z]{2,}/gi, '…@…'],
];

export function maskValues(text: string): string {
  return QUOTED.reduce((masked, [found, put]) => masked.replaceAll(found, put), text);
}
