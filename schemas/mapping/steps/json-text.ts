/**
 * JSON as text. Guarantee: what PostgreSQL's json type refuses is refused and all else taken, at any depth; a value found keeps its own
 * spelling (numbers of any size), and of a name that stands twice the last one counts, as in jsonb.
 */
import { parseDecimal } from './decimal.ts';

/** True for what PostgreSQL's json takes: its grammar is that of ECMA-404, as JSON.parse's is. */
export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const OTHER_ESCAPES = /\\[^u]/g;
const NUL_OR_HALF = /\\u0000|\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]/i;

/** True for what jsonb takes too: it decodes its texts, and a NUL or half a character is none; its numbers are numerics. */
export function isJsonb(text: string): boolean {
  if (!isJson(text) || (text.includes(String.raw`\u`) && NUL_OR_HALF.test(text.replaceAll(OTHER_ESCAPES, '  ')))) return false;
  return [...text.replaceAll(STRINGS, '""').matchAll(LARGE_NUMBERS)].every(([number]) => parseDecimal(number) !== undefined);
}

const STRINGS = /"(?:[^"\\]|\\.)*"/g;
/** With an exponent, or of more digits than numeric has behind the point. */
const LARGE_NUMBERS = /-?[\d.]+[eE][-+]?\d+|-?[\d.]{16384,}/g;

/** Text of the value at a path; undefined where there is none. `text` is JSON; `unique`: no name stands twice in an object, as in jsonb. */
export function findInJson(text: string, path: readonly string[], unique = false): string | undefined {
  const scanner = new Scanner(text, unique);
  let start = scanner.blanks(0);
  for (const part of path) {
    start = scanner.child(start, part);
    if (start < 0) return undefined;
  }
  return text.slice(start, scanner.skip(start));
}

/** Texts of a JSON array's elements; undefined for any other JSON. */
export function elementsOfJson(text: string): string[] | undefined {
  const scanner = new Scanner(text, false);
  const start = scanner.blanks(0);
  return text.charCodeAt(start) === OPEN_LIST ? scanner.elements(start) : undefined;
}

const [TAB, LINE_FEED, RETURN, BLANK, QUOTE, COMMA] = [0x09, 0x0a, 0x0d, 0x20, 0x22, 0x2c] as const;
const [OPEN_LIST, BACKSLASH, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5c, 0x5d, 0x7b, 0x7d] as const;
const INDEX = /^(?:0|[1-9]\d{0,9})$/;
const NONE = -1;

/** Finds its way in what is known to be JSON: offsets are given and taken, and it ends with the text whatever stands there. */
class Scanner {
  readonly #text: string;
  /** The last string has escapes in it. */
  #escaped = false;

  readonly #unique: boolean;

  constructor(text: string, unique: boolean) {
    this.#text = text;
    this.#unique = unique;
  }

  /** Offset of what is no blank, from `at` on. */
  blanks(at: number): number {
    const text = this.#text;
    for (let p = at; ; p++) {
      const c = text.charCodeAt(p);
      if (c !== BLANK && c !== LINE_FEED && c !== RETURN && c !== TAB) return p;
    }
  }

  /** Offset of the member or element `name` of what begins at `start`; NONE where it has none. */
  child(start: number, name: string): number {
    const open = this.#text.charCodeAt(start);
    if (open === OPEN_OBJECT) return this.#member(start, name);
    return open === OPEN_LIST && INDEX.test(name) ? this.#element(start, Number(name)) : NONE;
  }

  /** Offset behind the value at `start`. */
  skip(start: number): number {
    const text = this.#text;
    const first = text.charCodeAt(start);
    if (first === QUOTE) return this.#string(start);
    if (first !== OPEN_OBJECT && first !== OPEN_LIST) return this.#bare(start);
    let depth = 0;
    for (let p = start; p < text.length; p++) {
      const c = text.charCodeAt(p);
      if (c === QUOTE) p = this.#string(p) - 1;
      else if (c === OPEN_OBJECT || c === OPEN_LIST) depth++;
      else if ((c === CLOSE_OBJECT || c === CLOSE_LIST) && --depth === 0) return p + 1;
    }
    return text.length;
  }

  /** A number, true, false or null. */
  #bare(start: number): number {
    const text = this.#text;
    let p = start;
    for (; p < text.length; p++) {
      const c = text.charCodeAt(p);
      if (c === COMMA || c === CLOSE_LIST || c === CLOSE_OBJECT || c === BLANK || c === LINE_FEED || c === RETURN || c === TAB) break;
    }
    return p;
  }

  #string(start: number): number {
    const text = this.#text;
    this.#escaped = false;
    for (let p = start + 1; p < text.length; p++) {
      const c = text.charCodeAt(p);
      if (c === QUOTE) return p + 1;
      if (c !== BACKSLASH) continue;
      this.#escaped = true;
      p++;
    }
    return text.length;
  }

  /** Of a name that stands twice the last one. */
  #member(start: number, name: string): number {
    let found = NONE;
    let p = this.blanks(start + 1);
    while (this.#text.charCodeAt(p) === QUOTE) {
      const end = this.#string(p);
      const isWanted = this.#isName(p, end, name);
      const value = this.blanks(this.blanks(end) + 1);
      if (isWanted) found = value;
      if (isWanted && this.#unique) return value;
      p = this.#next(this.skip(value));
    }
    return found;
  }

  /** Whether the string between these offsets is `name`: an escape is longer than what it stands for. */
  #isName(start: number, end: number, name: string): boolean {
    const length = end - start - QUOTES;
    if (length > name.length) return this.#escaped && decode(this.#text.slice(start, end)) === name;
    return length === name.length && !this.#escaped && this.#text.startsWith(name, start + 1);
  }

  /** Their texts. */
  elements(start: number): string[] {
    const found: string[] = [];
    let p = this.blanks(start + 1);
    while (p < this.#text.length && this.#text.charCodeAt(p) !== CLOSE_LIST) {
      const end = this.skip(p);
      if (end === p) break;
      found.push(this.#text.slice(p, end));
      p = this.#next(end);
    }
    return found;
  }

  #element(start: number, index: number): number {
    let p = this.blanks(start + 1);
    for (let i = 0; p < this.#text.length && this.#text.charCodeAt(p) !== CLOSE_LIST; i++) {
      if (i === index) return p;
      const end = this.skip(p);
      if (end === p) return NONE;
      p = this.#next(end);
    }
    return NONE;
  }

  /** Offset of the next member or element, or of the closing bracket. */
  #next(at: number): number {
    const p = this.blanks(at);
    return this.#text.charCodeAt(p) === COMMA ? this.blanks(p + 1) : p;
  }
}

const QUOTES = 2;

/** A JSON string's own characters. */
export function decode(json: string): string {
  return json.includes('\\') ? (JSON.parse(json) as string) : json.slice(1, -1);
}
