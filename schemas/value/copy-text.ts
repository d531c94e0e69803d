/**
 * The text format of COPY, over bytes. Guarantee: escape and unescape are inverse for every sequence of bytes but NUL (which
 * PostgreSQL cannot hold), and what `escape…` writes is what `COPY … FROM` reads back. A tab or line feed within a value is always
 * escaped, so a raw one always ends a field or a line, in any encoding that PostgreSQL allows as a client's (UTF-8 here).
 */

const TAB = 0x09;
const LINE_FEED = 0x0a;
const BACKSLASH = 0x5c;

/** Second byte of the escape of bytes 0x08–0x0d (b t n v f r). */
const LETTERS = Uint8Array.of(0x62, 0x74, 0x6e, 0x76, 0x66, 0x72);

/** Escape letters back to bytes; other escaped characters stand for themselves. */
const UNESCAPED = new Uint8Array(256);
for (let i = 0; i < 256; i++) UNESCAPED[i] = i;
LETTERS.forEach((letter, i) => (UNESCAPED[letter] = 8 + i));

/**
 * Finds the fields of the line that starts at `at`: `bounds[2i]`, `bounds[2i+1]` become start and end of field i, still escaped.
 * `bounds` must have room for two entries per expected field; fields beyond it are counted but not stored.
 * @returns the number of fields, or -1 when the buffer ends before the line does.
 */
export function splitCopyLine(buffer: Buffer, at: number, bounds: Int32Array): number {
  const end = buffer.indexOf(LINE_FEED, at);
  if (end < 0) return -1;
  let fields = 0;
  let start = at;
  for (let i = at; i < end; i++) {
    if (buffer[i] !== TAB) continue;
    bounds[2 * fields] = start;
    bounds[2 * fields + 1] = i;
    fields++;
    start = i + 1;
  }
  bounds[2 * fields] = start;
  bounds[2 * fields + 1] = end;
  return fields + 1;
}

/** Offset of the first byte behind the line that starts at `at`, or -1 when the buffer ends before the line does. */
export function endOfCopyLine(buffer: Buffer, at: number): number {
  return buffer.indexOf(LINE_FEED, at) + 1 || -1;
}

export function isCopyNull(buffer: Buffer, start: number, end: number): boolean {
  return end - start === 2 && buffer[start] === BACKSLASH && buffer[start + 1] === 0x4e;
}

/** The field's own text; null for `\N`. */
export function copyFieldText(buffer: Buffer, start: number, end: number): string | null {
  if (isCopyNull(buffer, start, end)) return null;
  const escape = buffer.indexOf(BACKSLASH, start);
  if (escape < 0 || escape >= end) return buffer.toString('utf8', start, end);
  const plain = Buffer.allocUnsafe(end - start);
  return plain.toString('utf8', 0, unescapeCopyField(buffer, start, end, plain, 0));
}

/** Writes the field's own bytes to `into` at `at` (room for end - start bytes). @returns the offset behind them. */
// oxlint-disable-next-line max-params -- called per field: an options object would be allocated each time
export function unescapeCopyField(buffer: Buffer, start: number, end: number, into: Buffer, at: number): number {
  let p = at;
  for (let i = start; i < end; i++) {
    const byte = buffer[i]!;
    if (byte === BACKSLASH && i + 1 < end) into[p++] = UNESCAPED[buffer[++i]!]!;
    else into[p++] = byte;
  }
  return p;
}

/** Most bytes that a value of `length` bytes can take when escaped. */
export function escapedLengthMax(length: number): number {
  return 2 * length;
}

/** Writes a value's bytes as a field to `into` at `at` (room for escapedLengthMax). @returns the offset behind them. */
// oxlint-disable-next-line max-params -- called per field: an options object would be allocated each time
export function escapeCopyField(value: Buffer, start: number, end: number, into: Buffer, at: number): number {
  let p = at;
  for (let i = start; i < end; i++) {
    const byte = value[i]!;
    if (byte === BACKSLASH) {
      into[p++] = BACKSLASH;
      into[p++] = BACKSLASH;
    } else if (byte < 0x0e && byte > 0x07) {
      into[p++] = BACKSLASH;
      into[p++] = LETTERS[byte - 8]!;
    } else {
      into[p++] = byte;
    }
  }
  return p;
}

const TEXT_ESCAPES = /[\\\b\t\n\v\f\r]/g;
const TEXT_LETTERS: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\v': '\\v',
  '\f': '\\f',
  '\r': '\\r',
};

/** One field as text, for paths that are not hot. */
export function copyField(value: string | null): string {
  return value === null ? '\\N' : value.replaceAll(TEXT_ESCAPES, (character) => TEXT_LETTERS[character]!);
}

/** One line, with its line feed. */
export function copyLine(values: readonly (string | null)[]): string {
  return `${values.map(copyField).join('\t')}\n`;
}

/** All lines as text values, for paths that are not hot. The buffer must end with a whole line. */
export function decodeCopyRows(rows: Buffer, columns: number): (string | null)[][] {
  const bounds = new Int32Array(2 * columns);
  const decoded: (string | null)[][] = [];
  for (let at = 0; at < rows.length; at = endOfCopyLine(rows, at)) {
    const fields = splitCopyLine(rows, at, bounds);
    if (fields !== columns) throw new Error(`a COPY line has ${fields} fields instead of ${columns}`);
    decoded.push(Array.from({ length: columns }, (_, i) => copyFieldText(rows, bounds[2 * i]!, bounds[2 * i + 1]!)));
  }
  return decoded;
}
