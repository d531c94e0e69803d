/**
 * Single rows by key, and values of the stream in the target's form. Guarantee: a row is given only for exactly the key text asked
 * for (types like numeric and citext call different texts equal), with the same digest that the sums used.
 */
import type pg from 'pg';
import { quoteIdent } from '#schemas/table.ts';
import { idOrNullSql, type KeyMapColumn } from '#schemas/mapping/key-map.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { outputText } from './column-sql.ts';
import { groupedChildren, rowsIn } from './exploded-rows.ts';
import { REFUSED } from './row-image.ts';
import { digestSelect, type DigestPlan } from './row-sql.ts';
import { conditions, fromItem, valueExpressions, type BucketSum, type Scan, type TableProbe, type Texts } from './table-scan.ts';

export interface ProbedRow {
  readonly key: Texts;
  /** Canonical texts in the order of `mapping.columns`. */
  readonly texts: Texts;
  /** Source texts in the order of `sourceColumns`; empty on the target. */
  readonly raw: Texts;
  /** False when the mapping's filter leaves the row out. */
  readonly selected: boolean;
  readonly hash: bigint;
  readonly sum: Readonly<BucketSum>;
}

/** One statement takes this many keys. */
const KEYS_PER_STATEMENT = 2_000;

/** @param keys Source key texts on the source, target key texts on the target. @returns by the JSON text of the key. */
export async function rowsByKey(scan: Scan, keys: readonly Texts[]): Promise<Map<string, ProbedRow>> {
  const found = new Map<string, ProbedRow>();
  const distinct = once(keys);
  for (let from = 0; from < distinct.length; from += KEYS_PER_STATEMENT) {
    for (const row of await fetchRows(scan, distinct.slice(from, from + KEYS_PER_STATEMENT), true)) put(found, row);
  }
  return found;
}

/** Without the texts, and so with less to be moved. Not of tables whose rows are the elements of an array. */
export async function digestsByKey(
  scan: Scan,
  keys: readonly Texts[],
): Promise<Map<string, Pick<ProbedRow, 'key' | 'selected' | 'hash' | 'sum'>>> {
  const found = new Map<string, ProbedRow>();
  const distinct = once(keys);
  for (let from = 0; from < distinct.length; from += KEYS_PER_STATEMENT) {
    for (const row of await fetchRows(scan, distinct.slice(from, from + KEYS_PER_STATEMENT), false)) put(found, row);
  }
  return found;
}

function once(keys: readonly Texts[]): readonly Texts[] {
  return [...new Map(keys.map((key) => [keyId(key), key])).values()];
}

/** In place of each value of rows that have one key. No text of PostgreSQL holds a NUL. */
const DOUBLED = '\0doubled';

export function isDoubled(texts: Texts | undefined): boolean {
  return texts?.[0] === DOUBLED;
}

/** A target that has lost its unique index may have several rows of one key: together they are equal to none. */
function put(found: Map<string, ProbedRow>, row: ProbedRow): void {
  const id = keyId(row.key);
  const other = found.get(id);
  if (other === undefined) {
    found.set(id, row);
    return;
  }
  const sum = { rows: other.sum.rows + row.sum.rows, a: other.sum.a + row.sum.a, b: other.sum.b + row.sum.b };
  found.set(id, { ...row, texts: row.texts.map(() => DOUBLED), sum });
}

export function keyId(key: readonly (string | null | undefined)[]): string {
  return JSON.stringify(key);
}

interface KeyColumn {
  readonly name: string;
  readonly type: string;
  /** Whether `=` of the type is in pg_catalog; a type of an extension is found by its text. */
  readonly comparable: boolean;
  /** The target has ids in place of the keys. */
  readonly keyMap?: KeyMapColumn | undefined;
}

function keyColumns(probe: TableProbe, side: Scan['side']): KeyColumn[] {
  const { mapping } = probe;
  return mapping.targetKey.map((target, i) => {
    const column = mapping.columns[probe.key[i]!]!;
    const comparable = column.source.builtin || column.source.typtype !== 'b';
    if (side === 'source') return { name: mapping.sourceKey[i]!, type: column.source.baseType, comparable };
    const { keyMap } = column;
    if (keyMap !== undefined) return { name: target, type: column.targetBaseType, comparable: true, keyMap };
    return { name: target, type: column.targetBaseType, comparable: comparable && !column.targetBaseType.includes('.') };
  });
}

/** As it was asked for: on the target in the canonical form, which takes off what a modifier of its own adds (zeros, blanks). */
function keyText(probe: TableProbe, side: Scan['side'], { name, keyMap }: KeyColumn, i: number): string {
  const ref = `t.${quoteIdent(name)}`;
  if (side === 'source') return outputText(ref);
  const canonical = probe.columns[probe.key[i]!]!.onTarget(ref);
  return keyMap === undefined ? outputText(canonical) : canonical;
}

async function fetchRows(scan: Scan, keys: readonly Texts[], whole: boolean): Promise<ProbedRow[]> {
  const { probe, side } = scan;
  const columns = keyColumns(probe, side);
  // What SQL cannot compute is left to computed-scan.ts.
  const computed = side === 'source' && probe.mapping.steps !== undefined;
  const values = computed ? probe.key.map((i) => valueExpressions(probe, side)[i]!) : valueExpressions(probe, side);
  const keyTexts = columns.map((column, i) => keyText(probe, side, column, i));
  const key = keyTexts.map((expression, i) => ({ expression, name: `q${i}` }));
  const texts = whole ? values.map((value, i) => ({ expression: outputText(value), name: `m${i}` })) : [];
  const rawNames = side === 'source' && whole ? probe.sourceColumns : [];
  const raw = rawNames.map((name, i) => ({ expression: outputText(`t.${quoteIdent(name)}`), name: `c${i}` }));
  const chosen =
    side === 'source'
      ? conditions(probe, side)
          .map((one) => `(${one})`)
          .join(' AND ')
      : '';
  const extra = [...key, ...texts, ...raw, { expression: chosen === '' ? 'true' : chosen, name: 'selected' }];
  const matches = columns.map(({ name, type, comparable, keyMap }, i) => {
    const ref = `t.${quoteIdent(name)}`;
    if (keyMap !== undefined) return `${ref} = ${idOrNullSql(keyMap, `u.k${i}`, type)}`;
    // Types call different texts equal: a row is to be found by one of the keys asked for, and by no other.
    const sameText = `(${keyTexts[i]!}) COLLATE "C" = u.k${i}`;
    return comparable ? `${ref} = (u.k${i})::${type} AND ${sameText}` : sameText;
  });
  const unnest = `unnest(${columns.map((_, i) => `$${i + 1}::text[]`).join(', ')}) AS u(${columns.map((_, i) => `k${i}`).join(', ')})`;
  // A softly deleted row is none; of the source's rows `selected` tells.
  if (side === 'target') matches.push(...conditions(probe, side));
  const from =
    side === 'target' && probe.mapping.explode !== undefined
      ? `${unnest} CROSS JOIN ${groupedChildren(probe.mapping, scan.shape.kind !== 'p', probe.known, matches)}`
      : `${unnest} JOIN ${fromItem(probe, side, scan.shape)} ON ${matches.join(' AND ')}`;
  const select = digestSelect(scan.plan, { from, where: [], values, key: computed ? values.map((_, i) => i) : probe.key, extra });
  const names = extra.map(({ name }) => `, d.${name}${name === 'selected' ? '::text AS selected' : ''}`).join('');
  const rows = await queryRows(
    scan.client,
    `SELECT d.hk::text AS h, d.a::text AS x, d.b::text AS y${names} FROM (${select}) d`,
    columns.map((_, i) => keys.map((one) => one[i] ?? null)),
  );
  const asked = new Set(keys.map((one) => keyId(one)));
  const sizes = [key.length, texts.length, raw.length] as const;
  return rows
    .map((row) => (whole ? weighed(probedRow(row, sizes), probe) : probedRow(row, sizes)))
    .filter((row) => asked.has(keyId(row.key)));
}

function weighed(row: ProbedRow, { mapping }: TableProbe): ProbedRow {
  return mapping.explode === undefined ? row : { ...row, sum: { ...row.sum, rows: rowsIn(mapping, row.texts) } };
}

function probedRow(row: Record<string, string | null>, [keys, texts, raw]: readonly [number, number, number]): ProbedRow {
  const read = (prefix: string, count: number): Texts => Array.from({ length: count }, (_, i) => row[`${prefix}${i}`] ?? null);
  return {
    key: read('q', keys),
    texts: read('m', texts),
    raw: read('c', raw),
    selected: row['selected'] === 'true',
    hash: BigInt(row['h']!),
    sum: { rows: 1n, a: BigInt(row['x']!), b: BigInt(row['y']!) },
  };
}

/** Values of the stream, in the order of `mapping.columns`, as the target would print them. Absent stays absent. */
export async function mapTexts(
  source: pg.ClientBase,
  probe: TableProbe,
  rows: readonly (readonly (string | null | undefined)[])[],
): Promise<(string | null | undefined)[][]> {
  const mapped = rows.map((row) => [...row]);
  const sent = rows.map((row) => row.map((value) => (value === REFUSED ? null : value)));
  if (rows.length === 0 || probe.columns.every((column) => column.onText === undefined)) return mapped;
  const select = probe.columns.map((column, i) => `${outputText(column.onText ? column.onText(`u.c${i}`) : `u.c${i}`)} AS m${i}`);
  const answer = await unnestRows(source, select, { rows: sent, columns: probe.columns.length });
  answer.forEach((row, i) => {
    const into = mapped[i]!;
    for (let c = 0; c < into.length; c++) if (into[c] !== undefined && into[c] !== REFUSED) into[c] = row[`m${c}`] ?? null;
  });
  return mapped;
}

/** The same texts once more through the target's own types: for columns whose type the source server does not know. */
export async function normalizeOnTarget(target: pg.ClientBase, probe: TableProbe, rows: readonly Texts[]): Promise<Texts[]> {
  if (rows.length === 0) return [];
  const { columns } = probe.mapping;
  const select = columns.map((column, i) => {
    const value = probe.columns[i]!.settled ? `u.c${i}` : `(u.c${i})::${column.targetBaseType}`;
    return `${outputText(value)} AS m${i}`;
  });
  const sent = rows.map((row) => row.map((value) => (value === REFUSED ? null : value)));
  const answer = await unnestRows(target, select, { rows: sent, columns: columns.length });
  return answer.map((row, n) => columns.map((_, i) => (rows[n]![i] === REFUSED ? REFUSED : (row[`m${i}`] ?? null))));
}

/** Digests of rows that are in no table: what a keyless table gained and lost meanwhile. */
export async function digestTexts(
  client: pg.ClientBase,
  plan: DigestPlan,
  rows: readonly Texts[],
): Promise<{ readonly hash: bigint; readonly sum: BucketSum }[]> {
  if (rows.length === 0) return [];
  const width = rows[0]!.length;
  const from = textRows(width);
  const values = Array.from({ length: width }, (_, i) => `u.c${i}`);
  const select = digestSelect(plan, { from, where: [], values, key: [], extra: [{ expression: 'u.n', name: 'n' }] });
  const answer = await queryRows(
    client,
    `SELECT d.hk::text AS h, d.a::text AS x, d.b::text AS y FROM (${select}) d ORDER BY d.n`,
    textArrays(
      rows.map((row) => row.map((value) => (value === REFUSED ? null : value))),
      width,
    ),
  );
  return answer.map((row, i) => ({
    hash: BigInt(row['h']!),
    sum: { rows: 1n, a: BigInt(row['x']!) + (rows[i]!.includes(REFUSED) ? 1n : 0n), b: BigInt(row['y']!) },
  }));
}

interface UnnestRows {
  readonly rows: readonly (readonly (string | null | undefined)[])[];
  readonly columns: number;
}

async function unnestRows(
  client: pg.ClientBase,
  select: readonly string[],
  { rows, columns }: UnnestRows,
): Promise<Record<string, string | null>[]> {
  const answer: Record<string, string | null>[] = [];
  for (let from = 0; from < rows.length; from += KEYS_PER_STATEMENT) {
    const part = rows.slice(from, from + KEYS_PER_STATEMENT);
    answer.push(
      ...(await queryRows(client, `SELECT ${select.join(', ')} FROM ${textRows(columns)} ORDER BY u.n`, textArrays(part, columns))),
    );
  }
  return answer;
}

/** FROM item u with columns c0… and n, for `textArrays`. */
export function textRows(columns: number): string {
  const arrays = Array.from({ length: columns }, (_, i) => `$${i + 1}::text[]`).join(', ');
  const names = Array.from({ length: columns }, (_, i) => `c${i}`).join(', ');
  return `unnest(${arrays}) WITH ORDINALITY AS u(${names}, n)`;
}

/** Parameters: one array a column. */
export function textArrays(rows: readonly (readonly (string | null | undefined)[])[], width: number): (string | null)[][] {
  return Array.from({ length: width }, (_, c) => rows.map((row) => row[c] ?? null));
}
