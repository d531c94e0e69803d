/**
 * JSON as text, without taking it apart. Guarantee: a value found keeps its own spelling (numbers of any size), and of a name that
 * stands twice the last one counts, as in PostgreSQL.
 */
import { StepRefusal } from './step.ts';

const BLANK = /[ \t\n\r]/;
const BARE_END = /[,\]}\s]/;

/** Text of the value at a path; undefined where there is none. @throws StepRefusal for what is no JSON. */
export function findInJson(text: string, path: readonly string[]): string | undefined {
  const scanner = new Scanner(text);
  let span = scanner.value(0);
  if (scanner.blanks(span.end) !== text.length) throw malformed();
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

function malformed(): StepRefusal {
  return new StepRefusal('the value is no JSON');
}

class Scanner {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  blanks(at: number): number {
    let p = at;
    while (p < this.#text.length && BLANK.test(this.#text[p]!)) p++;
    return p;
  }

  value(at: number): Span {
    const start = this.blanks(at);
    const first = this.#text[start];
    if (first === '"') return { start, end: this.#string(start) };
    if (first === '{' || first === '[') return { start, end: this.#skip(start) };
    let end = start;
    while (end < this.#text.length && !BARE_END.test(this.#text[end]!)) end++;
    if (end === start) throw malformed();
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

  #string(start: number): number {
    for (let p = start + 1; p < this.#text.length; p++) {
      const c = this.#text[p];
      if (c === '\\') p++;
      else if (c === '"') return p + 1;
    }
    throw malformed();
  }

  /** Offset behind the object or array at `start`. */
  #skip(start: number): number {
    let depth = 0;
    for (let p = start; p < this.#text.length; p++) {
      const c = this.#text[p];
      if (c === '"') p = this.#string(p) - 1;
      else if (c === '{' || c === '[') depth++;
      else if (c === '}' || c === ']') {
        depth--;
        if (depth === 0) return p + 1;
      }
    }
    throw malformed();
  }

  #members(start: number, visit: (key: string, value: Span) => void): void {
    let p = this.blanks(start + 1);
    while (this.#text[p] !== '}') {
      if (this.#text[p] !== '"') throw malformed();
      const end = this.#string(p);
      const colon = this.blanks(end);
      if (this.#text[colon] !== ':') throw malformed();
      const value = this.value(colon + 1);
      visit(this.#text.slice(p, end), value);
      p = this.#next(value.end, '}');
    }
  }

  #elements(start: number, visit: (value: Span) => void): void {
    let p = this.blanks(start + 1);
    while (this.#text[p] !== ']') {
      const value = this.value(p);
      visit(value);
      p = this.#next(value.end, ']');
    }
  }

  #next(at: number, close: string): number {
    const p = this.blanks(at);
    if (this.#text[p] === close) return p;
    if (this.#text[p] !== ',') throw malformed();
    return this.blanks(p + 1);
  }
}

/** A JSON string's own characters. @throws StepRefusal */
export function decode(json: string): string {
  try {
    return JSON.parse(json) as string;
  } catch {
    throw malformed();
  }
}
