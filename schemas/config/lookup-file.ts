/**
 * A file that a `lookup` step looks into: key → value. Guarantee: keys and values are the texts that stand in the file (7.50 stays 7.50), a null
 * is null, and a key that stands there twice with two values is refused; a file's meaning follows from its text alone, which `digest` names.
 */
import { createHash } from 'node:crypto';
import { isMap, isScalar, isSeq, parseDocument, type Node } from 'yaml';

export interface LoadedLookup {
  /** Of the file's text: another text is another mapping. */
  readonly digest: string;
  readonly values: ReadonlyMap<string, string | null>;
}

/** What is wrong with the file. */
export class LookupFault extends Error {
  override readonly name = 'LookupFault';
}

export interface LookupColumns {
  /** Names of columns; both absent where the file is one block of key: value. */
  readonly key?: string | undefined;
  readonly value?: string | undefined;
}

type Row = ReadonlyMap<string, string | null>;

/** `name` tells the format by its ending: .csv, or JSON or YAML. @throws LookupFault */
export function parseLookup(text: string, name: string, columns: LookupColumns): LoadedLookup {
  const digest = createHash('sha256').update(text).digest('hex');
  const { key, value } = columns;
  if (key === undefined || value === undefined) return { digest, values: unique(blockOf(text)) };
  const rows = name.toLowerCase().endsWith('.csv') ? csvRows(text) : listOf(text);
  const values = rows.map((row, i): readonly [string, string | null] => {
    for (const column of [key, value]) if (!row.has(column)) throw new LookupFault(`row ${i + 1} has no column "${column}"`);
    const found = row.get(key);
    if (found === null || found === undefined) throw new LookupFault(`row ${i + 1} has no key`);
    return [found, row.get(value)!];
  });
  return { digest, values: unique(values) };
}

/** NUL stands in no text of PostgreSQL, and half a character (a lone surrogate) in none of UTF-8. */
function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

function unique(entries: readonly (readonly [string, string | null])[]): ReadonlyMap<string, string | null> {
  const values = new Map<string, string | null>();
  for (const [key, value] of entries) {
    if (values.has(key) && values.get(key) !== value) throw new LookupFault(`key "${key}" stands there twice, with two values`);
    if (!isStorable(key) || !isStorable(value ?? ''))
      throw new LookupFault(`the value of key ${JSON.stringify(key)}, or the key, holds a NUL or half a character`);
    values.set(key, value);
  }
  return values;
}

/** JSON is YAML, too. */
function contentsOf(text: string): Node | null {
  const document = parseDocument(text, { schema: 'failsafe', uniqueKeys: false });
  const [error] = document.errors;
  if (error !== undefined) throw new LookupFault(error.message.split('\n', 1).join(''));
  return document.contents;
}

function textOf(node: unknown): string | null {
  if (node === null) return null;
  if (!isScalar(node)) throw new LookupFault('a key or a value is neither text nor a number');
  const text = String(node.value);
  return node.type === 'PLAIN' && /^(?:null|~|)$/i.test(text) ? null : text;
}

function entriesOf(node: unknown): (readonly [string, string | null])[] {
  if (!isMap(node)) throw new LookupFault('expected blocks of name: value');
  return node.items.map(({ key, value }) => [textOf(key) ?? 'null', textOf(value)] as const);
}

function blockOf(text: string): readonly (readonly [string, string | null])[] {
  return entriesOf(contentsOf(text));
}

function listOf(text: string): readonly Row[] {
  const contents = contentsOf(text);
  if (!isSeq(contents)) throw new LookupFault('expected a list of blocks; without key: and value: one block of key: value is read');
  return contents.items.map((item) => unique(entriesOf(item)));
}

/** As RFC 4180 has it: the first line names the columns, a field may stand in quotes, an empty one is the empty text. */
function csvRows(text: string): readonly Row[] {
  const [head, ...lines] = csvLines(text.startsWith('\uFEFF') ? text.slice(1) : text);
  if (head === undefined) throw new LookupFault('there is no line that names the columns');
  const twice = head.find((name, i) => head.indexOf(name) < i);
  if (twice !== undefined) throw new LookupFault(`the first line names column "${twice}" twice`);
  return lines.map((fields, i) => {
    if (fields.length !== head.length) throw new LookupFault(`line ${i + 2} has ${fields.length} fields, the first one ${head.length}`);
    return new Map(head.map((name, n) => [name, fields[n]!]));
  });
}

const FIELD = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n?|\n|$)/y;

function csvLines(text: string): readonly (readonly string[])[] {
  const lines: string[][] = [];
  let line: string[] = [];
  for (let at = 0; at < text.length || line.length > 0;) {
    FIELD.lastIndex = at;
    const found = FIELD.exec(text);
    if (found === null) throw new LookupFault(`line ${lines.length + 1} has a quote in the wrong place`);
    line.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '');
    at = FIELD.lastIndex;
    if (found[3] === ',') continue;
    lines.push(line);
    line = [];
    if (at >= text.length) break;
  }
  return lines;
}
