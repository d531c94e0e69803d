/**
 * Bytes of a file that somebody wrote → its text. Guarantee: a file in another encoding is refused with its line instead of being read with
 * other characters in the place of its own: a filter's value would then be that of no row, and all rows would be left out.
 */

export class NotUtf8 extends Error {
  override readonly name = 'NotUtf8';
  readonly line: number;

  constructor(line: number) {
    super(`it is not in UTF-8, first in line ${line}`);
    this.line = line;
  }
}

const LINE_FEED = 0x0a;

/** Without a byte order mark. @throws NotUtf8 */
export function utf8Text(bytes: Uint8Array): string {
  const text = decoded(bytes);
  if (text !== undefined) return text;
  let line = 1;
  // No character of several bytes has a line feed in it, so each line can be looked at by itself.
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (decoded(bytes.subarray(start, end < 0 ? bytes.length : end)) === undefined) break;
    start = end + 1;
  }
  throw new NotUtf8(line);
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
