/**
 * JSON as text. Guarantee: what PostgreSQL's json type refuses is refused and all else taken, at any depth; a value found keeps its own
 * spelling (numbers of any size), and of a name that stands twice the last one counts, as in jsonb.
 */

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

/** True for what jsonb takes too: it decodes its texts, and a NUL or half a character is none. */
export function isJsonb(text: string): boolean {
  return isJson(text) && !(text.includes(String.raw`\u`) && NUL_OR_HALF.test(text.replaceAll(OTHER_ESCAPES, '  ')));
}

/** Text of the value at a path; undefined where there is none. `text` is JSON. */
export function findInJson(text: string, path: readonly string[]): string | undefined {
  const scanner = new Scanner(text);
  let span = scanner.value(0);
  for (const part of path) {
    const inner = scanner.child(span.start, part);
    if (inner === undefined) return undefined;
    span = inner;
  }
  return text.slice(span.start, span.end);
}

interface Span {
  readonly start: number;
  readonly end: number;
}

const BLANK = /[ \t\n\r]/;
const BARE_END = /[,\]} \t\n\r]/;

/** Finds its way in what is known to be JSON. */
class Scanner {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  value(at: number): Span {
    const start = this.#blanks(at);
    const first = this.#text[start];
    if (first === '"') return { start, end: this.#string(start) };
    if (first === '{' || first === '[') return { start, end: this.#skip(start) };
    let end = start;
    while (end < this.#text.length && !BARE_END.test(this.#text[end]!)) end++;
    return { start, end };
  }

  /** The member or element `name` of what begins at `start`. */
  child(start: number, name: string): Span | undefined {
    const open = this.#text[start];
    let found: Span | undefined;
    if (open === '{') this.#members(start, (key, value) => (found = decode(key) === name ? value : found));
    else if (open === '[' && /^(?:0|[1-9]\d{0,9})$/.test(name)) {
      let index = 0;
      this.#elements(start, (value) => (found = index++ === Number(name) ? value : found));
    }
    return found;
  }

  #blanks(at: number): number {
    let p = at;
    while (p < this.#text.length && BLANK.test(this.#text[p]!)) p++;
    return p;
  }

  /** Offset behind the string at `start`. */
  #string(start: number): number {
    let p = start + 1;
    for (; this.#text[p] !== '"'; p++) if (this.#text[p] === '\\') p++;
    return p + 1;
  }

  /** Offset behind the object or array at `start`. */
  #skip(start: number): number {
    let depth = 0;
    for (let p = start; ; p++) {
      const c = this.#text[p];
      if (c === '"') p = this.#string(p) - 1;
      else if (c === '{' || c === '[') depth++;
      else if ((c === '}' || c === ']') && --depth === 0) return p + 1;
    }
  }

  #members(start: number, visit: (key: string, value: Span) => void): void {
    let p = this.#blanks(start + 1);
    while (this.#text[p] !== '}') {
      const end = this.#string(p);
      const value = this.value(this.#blanks(end) + 1);
      visit(this.#text.slice(p, end), value);
      p = this.#next(value.end);
    }
  }

  #elements(start: number, visit: (value: Span) => void): void {
    let p = this.#blanks(start + 1);
    while (this.#text[p] !== ']') {
      const value = this.value(p);
      visit(value);
      p = this.#next(value.end);
    }
  }

  /** Offset of the next member or element, or of the closing bracket. */
  #next(at: number): number {
    const p = this.#blanks(at);
    return this.#text[p] === ',' ? this.#blanks(p + 1) : p;
  }
}

/** A JSON string's own characters. */
export function decode(json: string): string {
  return json.includes('\\') ? (JSON.parse(json) as string) : json.slice(1, -1);
}
