/**
 * Live rows → tests (`crossfade test --record N`). Guarantee: reads in one read-only snapshot and changes no database; no real value of a
 * column that is named or hidden like personal data, or that could hold anything, leaves the database: it is written in disguise.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from '#connectors/postgres/session.ts';
import type { Catalogues } from '#schemas/config/catalogue-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { mayBePersonal } from '#schemas/mapping/personal-data.ts';
import { filterSql } from '#schemas/mapping/row-filter.ts';
import { quoteIdent, quoteTable, type CatalogColumn, type CatalogTable } from '#schemas/table.ts';
import { disguise } from '#schemas/value/disguise.ts';

export interface RecordedRow {
  /** All targets of its source table. */
  readonly tables: readonly TableMapping[];
  readonly row: ReadonlyMap<string, string | null>;
}

export interface Recording {
  readonly rows: readonly RecordedRow[];
  /** `schema.table.column` of what was disguised. */
  readonly disguised: readonly string[];
}

export interface RecordInput {
  readonly url: string;
  readonly mapping: CompiledMapping;
  readonly source: Catalogues['source'];
  readonly rowsPerTable: number;
  readonly key: Buffer;
}

/** Kept out of the tests: a row that nobody would read. */
const ROW_LENGTH_MAX = 20_000;

/** @throws PipelineError CF-2001 */
export async function recordRows({ url, mapping, source, rowsPerTable, key }: RecordInput): Promise<Recording> {
  const client = await connect(url, { applicationName: 'crossfade test', role: 'source' });
  const rows: RecordedRow[] = [];
  const disguised: string[] = [];
  try {
    await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (const tables of Map.groupBy(mapping.tables, ({ from }) => tableId(from)).values()) {
      const { from } = tables[0]!;
      const { columns } = columnsOf(from, source);
      const hidden = new Set(columns.filter((column) => mayBePersonal(column, tables)));
      disguised.push(...[...hidden].map(({ name }) => `${from.schema}.${from.name}.${name}`));
      const result = await client.query<(string | null)[]>({ text: selectSql(tables, columns, rowsPerTable), rowMode: 'array' });
      for (const values of result.rows) {
        const row = new Map(columns.map((column, i) => [column.name, hide(values[i] ?? null, column, { hidden, source, key })]));
        if ([...row.values()].join('').length <= ROW_LENGTH_MAX) rows.push({ tables, row });
      }
    }
    return { rows, disguised };
  } finally {
    await client.end();
  }
}

/** Without those that the source computes by itself. */
function columnsOf(table: TableMapping['from'], source: Catalogues['source']): Pick<CatalogTable, 'columns'> {
  const found = source.tables.find((one) => tableId(one) === tableId(table))!;
  return { columns: found.columns.filter(({ generated }) => generated === '') };
}

/** Rows that go to one target at least. */
function selectSql(tables: readonly TableMapping[], columns: readonly CatalogColumn[], rows: number): string {
  const { from, sourceKey } = tables[0]!;
  const names = columns.map(({ name }) => quoteIdent(name)).join(', ');
  const filters = tables.map(({ filter }) => filter && `(${filterSql(filter, quoteIdent)})`);
  const where = filters.includes(undefined) ? '' : ` WHERE ${filters.join(' OR ')}`;
  const order = sourceKey.length === 0 ? '' : ` ORDER BY ${sourceKey.map(quoteIdent).join(', ')}`;
  return `SELECT ${names} FROM ${quoteTable(from)}${where}${order} LIMIT ${rows}`;
}

interface Hiding {
  readonly hidden: ReadonlySet<CatalogColumn>;
  readonly source: Catalogues['source'];
  readonly key: Buffer;
}

function hide(value: string | null, column: CatalogColumn, { hidden, source, key }: Hiding): string | null {
  if (value === null || !hidden.has(column)) return value;
  const { typeOid, baseType } = column.domainBase ?? column;
  const labels = source.types.find(({ oid, kind }) => kind === 'e' && oid === typeOid)?.labels;
  return disguise(value, { baseType, ...(labels !== undefined && { labels }) }, key) ?? null;
}

const KEY_BYTES = 32;

/** One for each data directory: the same value looks the same in the next recording, and the key is never committed. */
export async function disguiseKey(dataDir: string): Promise<Buffer> {
  const path = join(dataDir, 'disguise.key');
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await writeFile(path, randomBytes(KEY_BYTES), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new PipelineError('CF-1002', `${path} cannot be written: ${messageOf(error)}`, {
        cause: error,
        remedy: 'Give another --data.',
      });
  }
  return readFile(path);
}
