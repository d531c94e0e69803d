/**
 * YAML text to plain values with a place for each. Guarantee: bounded work for any input (size, aliases and depth are capped before
 * anything is expanded), every error of the parser is reported with its line, and environment references are resolved in scalar
 * values only, after parsing, so that no value of the environment can change the file's structure.
 */
import { isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, parseDocument, type Document, type Node, type Pair, type Scalar } from 'yaml';
import { catalogue, type ErrorCode } from '../error-catalogue.ts';
import type { Finding } from '../errors.ts';

export const FILE_BYTES_MAX: number = 1024 * 1024;
/** Values after aliases are expanded; a file of 1 MiB without aliases stays far below. */
const VALUES_MAX = 300_000;
const DEPTH_MAX = 32;
const ALIASES_MAX = 1000;
/** So that a file which is something else entirely does not fill the terminal. */
const SYNTAX_ERRORS_MAX = 20;
/** Some ten thousand entries of `tables`. The parser's time grows with tokens, not bytes. */
const TOKENS_MAX = 150_000;
/** Depth that the parser's recursion is let go to: brackets open at once (also in comments and texts), `- - -` at the head of a line. */
const NESTING_MAX = 200;

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type Path = readonly (string | number)[];

export interface YamlSource {
  /** Undefined when the file cannot be understood at all. */
  readonly value: unknown;
  readonly findings: readonly Finding[];
  /** Place of the value at this path; of its nearest ancestor where there is none. */
  valuePlace(path: Path): Place;
  /** Place of the key at this path. */
  keyPlace(path: Path): Place;
  /** True when the value at this path came out of the environment: it must not be shown. */
  isSecret(path: Path): boolean;
  /** True when anything at or below this path came out of the environment. */
  holdsSecret(path: Path): boolean;
}

export interface YamlInput {
  readonly path: string;
  readonly text: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** True where numbers and booleans must keep the text that stands in the file. */
  readonly keepsText: (path: Path) => boolean;
  /** What stands for a variable that is not set; `whole`: it is all of the value. Absent, or undefined: that is an error. */
  readonly standIn?: (path: Path, whole: boolean) => string | undefined;
}

/** The checks behind the reader pass over such a key. */
export const UNUSABLE_KEY = '__proto__';

const SYNTAX_REMEDY = 'Mend the line named; a text that holds ": " or " #", or begins with one of { [ * & ! % @ `, needs quotes.';
const SYNTAX_REMEDIES: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'Indent with blanks, as many for each entry of a block.',
  BAD_INDENT: 'Indent with blanks, as many for each entry of a block.',
  MISSING_CHAR: 'Close what is open: a quote, a bracket or a brace.',
  MULTIPLE_DOCS: 'Take the line --- out: a file holds one migration.',
};

class TooLarge extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

export function readYaml(input: YamlInput): YamlSource {
  const reading = new Reading(input);
  return { value: reading.read(), findings: reading.findings, ...reading.places() };
}

/** One pass over one file. */
class Reading {
  readonly findings: Finding[] = [];
  readonly #input: YamlInput;
  readonly #lines = new LineCounter();
  readonly #values = new Map<string, number>();
  readonly #keys = new Map<string, number>();
  readonly #secrets = new Map<string, Path>();
  #document: Document | undefined;
  #visited = 0;
  #aliases = 0;

  constructor(input: YamlInput) {
    this.#input = input;
  }

  places(): Pick<YamlSource, 'valuePlace' | 'keyPlace' | 'isSecret' | 'holdsSecret'> {
    return {
      valuePlace: (path) => this.#placeOf(this.#values, path),
      keyPlace: (path) => (this.#keys.has(pathKey(path)) ? this.#placeOf(this.#keys, path) : this.#placeOf(this.#values, path)),
      isSecret: (path) => this.#secrets.has(pathKey(path)),
      holdsSecret: (path) => this.#secrets.values().some((secret) => path.every((part, i) => part === secret[i])),
    };
  }

  read(): unknown {
    try {
      return this.#readText();
    } catch (error) {
      // The parser recurses with the file's nesting.
      if (error instanceof RangeError) this.#report('CF-1006', 'the file is nested too deeply', 0);
      else if (error instanceof TooLarge) this.#report('CF-1006', error.message, error.offset);
      else throw error;
      return undefined;
    }
  }

  #readText(): unknown {
    const { text } = this.#input;
    const bytes = Buffer.byteLength(text, 'utf8');
    if (bytes > FILE_BYTES_MAX) throw new TooLarge(`the file has ${bytes} bytes; at most ${FILE_BYTES_MAX} are read`, 0);
    if (deepestFlow(text) > NESTING_MAX || COMPACT_NESTING.test(text)) throw new TooLarge('the file is nested too deeply', 0);
    let tokens = 0;
    for (const _ of new Lexer().lex(text)) if (++tokens > TOKENS_MAX) throw new TooLarge(`the file has more than ${TOKENS_MAX} tokens`, 0);
    const document = parseDocument(text, {
      lineCounter: this.#lines,
      version: '1.2',
      schema: 'core',
      merge: false,
      // Checked while converting: the parser's own check is quadratic.
      uniqueKeys: false,
      strict: true,
      prettyErrors: false,
    });
    this.#document = document;
    for (const problem of [...document.errors, ...document.warnings].slice(0, SYNTAX_ERRORS_MAX)) {
      // The parser turns its own recursion's end into an error of the file.
      const tooDeep = /call stack|stack overflow/i.test(problem.message);
      if (tooDeep) this.#report('CF-1006', 'the file is nested too deeply', problem.pos[0]);
      else this.#report('CF-1003', messageFor(problem), problem.pos[0], SYNTAX_REMEDIES[problem.code] ?? SYNTAX_REMEDY);
    }
    if (this.findings.length > 0) return undefined;
    if (document.contents === null) {
      this.#report('CF-1003', 'the file is empty', 0, 'Write one: crossfade init --source URL --target URL');
      return undefined;
    }
    return this.#convert(document.contents, []);
  }

  #convert(node: Node | null, path: Path): unknown {
    const offset = node?.range?.[0] ?? 0;
    if (++this.#visited > VALUES_MAX) throw new TooLarge(`the file expands to more than ${VALUES_MAX} values`, offset);
    if (path.length > DEPTH_MAX) throw new TooLarge(`the file is nested more than ${DEPTH_MAX} levels deep`, offset);
    const place = pathKey(path);
    if (node !== null && !this.#values.has(place)) this.#values.set(place, offset);
    if (node === null) return null;
    if (isAlias(node)) {
      if (++this.#aliases > ALIASES_MAX) throw new TooLarge(`the file uses aliases more than ${ALIASES_MAX} times`, offset);
      const anchored = node.resolve(this.#document!);
      if (anchored !== undefined) return this.#convert(anchored, path);
      this.#report(
        'CF-1003',
        `there is no anchor "${node.source}"; a text that begins with a star needs quotes: "*${node.source}"`,
        offset,
      );
      return `*${node.source}`;
    }
    if (isMap(node)) return this.#convertMap(node.items as Pair<Node, Node | null>[], path);
    if (isSeq(node)) return node.items.map((item, i) => this.#convert(item as Node, [...path, i]));
    return isScalar(node) ? this.#convertScalar(node, path) : null;
  }

  #convertMap(pairs: readonly Pair<Node, Node | null>[], path: Path): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    for (const { key, value } of pairs) {
      const offset = key?.range?.[0] ?? 0;
      const name = isScalar(key) ? keyText(key) : undefined;
      if (name === undefined) {
        this.#report('CF-1003', 'a key must be plain text', offset);
      } else if (name === '<<' && isScalar(key) && key.type === 'PLAIN') {
        this.#report('CF-1004', 'merge keys (<<) are not allowed: write the entries out', offset);
      } else if (name === UNUSABLE_KEY) {
        // The checks behind this pass over it, and a filter that is not there lets all rows through.
        const remedy = 'Drop the column (drop: [__proto__]), move it under its own name and type, or rename it on its server.';
        this.#report('CF-1004', 'no key can be called __proto__', offset, remedy);
      } else {
        const inner = [...path, name];
        if (Object.hasOwn(object, name)) this.#reportTwice(name, this.#placeOf(this.#keys, inner), offset);
        this.#keys.set(pathKey(inner), offset);
        object[name] = this.#convert(value, inner);
      }
    }
    return object;
  }

  #reportTwice(name: string, first: Place, offset: number): void {
    const shown = firstLine(JSON.stringify(name));
    this.#report(
      'CF-1003',
      `the key ${shown} stands twice in the same block, first in line ${first.line}`,
      offset,
      'Take one of them out.',
    );
  }

  #convertScalar(scalar: Scalar, path: Path): unknown {
    const { value } = scalar;
    if (typeof value === 'string') return this.#resolveEnvironment(value, path, scalar.range?.[0] ?? 0);
    if (value === null || !this.#input.keepsText(path)) return value;
    return scalar.source ?? JSON.stringify(value);
  }

  /** `${NAME}` stands for a variable, `$${` for a plain `${`. */
  #resolveEnvironment(text: string, path: Path, offset: number): string {
    return text.replaceAll(/\$(\$\{)|\$\{([^}]*)\}/g, (_match, escaped: string | undefined, name: string | undefined) => {
      if (escaped !== undefined) return escaped;
      if (name === undefined || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        this.#report('CF-1004', 'a reference to the environment is written ${NAME}, with letters, digits and underscores', offset);
        return '';
      }
      const value = Object.hasOwn(this.#input.env, name) ? this.#input.env[name] : undefined;
      if (value === undefined || value === '') {
        const instead = this.#input.standIn?.(path, text === `\${${name}}`);
        if (instead !== undefined) return instead;
        this.#report(
          'CF-1005',
          `the environment variable ${name} is ${value === undefined ? 'not set' : 'empty'}`,
          offset,
          `Set it: export ${name}=…`,
        );
        return '';
      }
      this.#secrets.set(pathKey(path), path);
      return value;
    });
  }

  #placeOf(offsets: ReadonlyMap<string, number>, path: Path): Place {
    for (let length = path.length; length >= 0; length--) {
      const inner = path.slice(0, length);
      const offset = (length === path.length ? offsets.get(pathKey(inner)) : undefined) ?? this.#values.get(pathKey(inner));
      if (offset !== undefined) return this.#linePlace(offset);
    }
    return { line: 1, column: 1 };
  }

  #linePlace(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  #report(code: ErrorCode, message: string, offset: number, remedy: string = catalogue[code].remedy): void {
    this.findings.push({ severity: 'error', code, message, remedy, path: this.#input.path, ...this.#linePlace(offset) });
  }
}

function pathKey(path: Path): string {
  return JSON.stringify(path);
}

function keyText(key: Scalar): string | undefined {
  return typeof key.value === 'string' ? key.value : (key.source ?? undefined);
}

/** Messages of the parser may repeat what stands in the file, at any length. */
const MESSAGE_LENGTH_MAX = 200;

function firstLine(message: string): string {
  return message.split('\n', 1)[0]!.slice(0, MESSAGE_LENGTH_MAX);
}

/** The parser's own word on several documents speaks to programmers. */
function messageFor({ code, message }: { readonly code: string; readonly message: string }): string {
  return code === 'MULTIPLE_DOCS' ? 'another document begins here' : firstLine(message);
}

/** More than NESTING_MAX indicators in a row at the head of a line. */
const COMPACT_NESTING = /^[ \t]*(?:[-?:] +){200}/m;

/** Deepest run of open brackets: an upper bound, so that the parser's own recursion is never tried on a hostile file. */
function deepestFlow(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5b || c === 0x7b) deepest = Math.max(deepest, ++depth);
    else if ((c === 0x5d || c === 0x7d) && depth > 0) depth--;
  }
  return deepest;
}
