/**
 * The judge: PostgreSQL's own text of every value, and its binary form where the type has one that does not name OIDs of its server.
 * Guarantee: two tables are called equal only when every column of every row is, and a difference is told with key, column and both texts.
 */
import { quoteIdent } from '#schemas/table.ts';
import { execute, type TextRow } from '#test/support/application.ts';

export interface Sides {
  readonly source: string;
  readonly target: string;
}

interface JudgedColumn {
  readonly name: string;
  /** Built-in and free of OIDs: its send function. */
  readonly send: string | null;
}

const SHOWN = 8;
const SETTINGS = `set timezone = 'UTC'; set extra_float_digits = 1; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set bytea_output = 'hex';
  set quote_all_identifiers = off; set client_encoding = 'UTF8'; set search_path = pg_catalog`;

const COLUMNS = `select a.attname as name, t.typsend::text as send, (t.oid < 16384 and t.typtype in ('b', 'r', 'm') and t.typname !~ '^_?(reg|aclitem|refcursor$)' and t.typsend <> 0)::text as plain
  from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`;

async function columnsOf(url: string, table: string): Promise<readonly JudgedColumn[]> {
  const rows = await execute(url, COLUMNS.replace('$1', `$q$${table}$q$`));
  return rows.map((row) => ({ name: row['name'] ?? '', send: row['plain'] === 'true' ? (row['send'] ?? null) : null }));
}

/** What a column holds, as one text: the output function's, with NULL told from the empty text. */
function shown({ name }: JudgedColumn): string {
  return `concat(num_nulls(x.${quoteIdent(name)}), x.${quoteIdent(name)})`;
}

function digestSql(table: string, columns: readonly JudgedColumn[]): string {
  const key = columns.some((column) => column.name === 'id') ? 'x.id' : `''`;
  const sums = columns.flatMap((column, i) => {
    const text = `sum(hashtextextended(concat(${key}, '|', ${shown(column)}), 0)::numeric)::text as t${i}`;
    return column.send === null
      ? [text]
      : [text, `sum(hashtextextended(concat(${key}, '|', md5(${column.send}(x.${quoteIdent(column.name)}))), 0)::numeric)::text as b${i}`];
  });
  const whole = `sum(hashtextextended(concat_ws('|', ${columns.map(shown).join(', ')}), 0)::numeric)::text as row`;
  return `select count(*)::text as n, ${whole}, ${sums.join(', ')} from ${table} x`;
}

export interface Compared {
  readonly rows: number;
  readonly values: number;
  readonly binary: number;
}

/** @throws Error that names the first differences. */
export async function requireSameTable(sides: Sides, table: string): Promise<Compared> {
  const columns = await columnsOf(sides.source, table);
  const sql = digestSql(table, columns);
  const [[source], [target]] = await Promise.all([execute(sides.source, SETTINGS, sql), execute(sides.target, SETTINGS, sql)]);
  if (JSON.stringify(source) !== JSON.stringify(target))
    throw new Error(await explainDifference(sides, table, { columns, source, target }));
  const rows = Number(source?.['n']);
  return { rows, values: rows * columns.length, binary: rows * columns.filter((column) => column.send !== null).length };
}

interface Digests {
  readonly columns: readonly JudgedColumn[];
  readonly source: TextRow | undefined;
  readonly target: TextRow | undefined;
}

async function explainDifference(sides: Sides, table: string, { columns, source, target }: Digests): Promise<string> {
  const differing = columns.filter((_, i) => ['t', 'b'].some((form) => source?.[`${form}${i}`] !== target?.[`${form}${i}`]));
  const key = columns.find((column) => column.name === 'id' || column.name === 'k');
  const lines = [
    `${table}: ${source?.['n']} rows on the source, ${target?.['n']} on the target; differing columns: ${differing.map((column) => column.name).join(', ')}`,
  ];
  const judged = differing.length > 0 ? differing : columns;
  const order = key === undefined ? '' : `concat(x.${quoteIdent(key.name)}) collate "C" as key, `;
  const sql = `select ${order}${judged.map((column, i) => `left(${shown(column)}, 300) as v${i}`).join(', ')} from ${table} x`;
  const [there, here] = await Promise.all([execute(sides.source, SETTINGS, sql), execute(sides.target, SETTINGS, sql)]);
  const text = (row: TextRow): string => JSON.stringify(row);
  const [ours, theirs] = [new Set(here.map(text)), new Set(there.map(text))];
  const byKey = (rows: readonly TextRow[], others: Set<string>): string[] =>
    rows
      .map(text)
      .filter((row) => !others.has(row))
      .toSorted()
      .slice(0, SHOWN);
  for (const row of byKey(there, ours)) lines.push(`  only on the source: ${row}`);
  for (const row of byKey(here, theirs)) lines.push(`  only on the target: ${row}`);
  return lines.join('\n');
}
