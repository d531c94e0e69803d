/**
 * Where to cut a table into ranges of its key. Guarantee: every key of either side is in exactly one of the ranges; how many rows each has
 * is an estimate, made from statistics, the ends of the key's index or a sample, never from a scan of the table.
 */
import type pg from 'pg';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { keyNumber, keyTextOf, rangeable, type KeyRange, type RangeKind } from '#schemas/reconcile/key-range.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { readShapes, type Shape } from './shape.ts';

const ROWS_PER_RANGE = 8_192;
/** Integers of which at least one in so many is a row are cut evenly. */
const SPARSE_FACTOR = 2n;
const SAMPLED_ROWS = 50_000;
const ROWS_PER_PAGE = 60;

/** @param client A session of the source. @returns undefined where a table can only be compared whole. */
export async function chooseRanges(
  client: pg.ClientBase,
  mapping: TableMapping,
  rowsPerRange: number = ROWS_PER_RANGE,
): Promise<readonly KeyRange[] | undefined> {
  const kind = rangeable(mapping);
  if (kind === undefined) return undefined;
  const [shape] = await readShapes(client, [mapping.from]);
  const table: Keyed = {
    client,
    kind,
    column: `t.${quoteIdent(mapping.sourceKey[0]!)}`,
    mapping,
    from: `${shape?.kind === 'p' ? '' : 'ONLY '}${quoteTable(mapping.from)} AS t`,
  };
  const rows = shape === undefined ? 0 : await countRoughly(table, shape);
  const wanted = Math.ceil(rows / rowsPerRange);
  const ends = wanted > 1 ? await readEnds(table) : undefined;
  if (ends === undefined) return [{}];
  return rangesBetween(kind, cutEvenly(await readQuantiles(table, ends, rows), wanted));
}

interface Keyed {
  readonly client: pg.ClientBase;
  readonly kind: RangeKind;
  /** As SQL; with its table, or ORDER BY would take the text of the same name. */
  readonly column: string;
  readonly mapping: TableMapping;
  readonly from: string;
}

/** As the planner does: the rows per page of the last ANALYZE, in the pages of today. */
async function countRoughly({ client }: Keyed, { leaves }: Shape): Promise<number> {
  const sql = `SELECT coalesce(sum(CASE WHEN c.reltuples > 0 AND c.relpages > 0 THEN c.reltuples / c.relpages ELSE ${ROWS_PER_PAGE} END
    * pg_relation_size(c.oid) / current_setting('block_size')::int), 0)::int8::text AS rows FROM pg_class c WHERE c.oid = ANY($1::oid[])`;
  const row = await queryRow(client, sql, [leaves]);
  return Number(row!['rows']);
}

type Ends = readonly [bigint, bigint];

/** Undefined for an empty table. */
async function readEnds({ client, kind, column, from }: Keyed): Promise<Ends | undefined> {
  const end = (order: string): string => `(SELECT ${column}::text FROM ${from} ORDER BY ${column} ${order} LIMIT 1)`;
  const row = await queryRow(client, `SELECT ${end('ASC')} AS low, ${end('DESC')} AS high`);
  const { low, high } = { low: row!['low'], high: row!['high'] };
  if (low === null || low === undefined || high === null || high === undefined) return undefined;
  return [keyNumber(kind, low), keyNumber(kind, high)];
}

/** Ascending keys with about as many rows between any two neighbours. */
async function readQuantiles(table: Keyed, [low, high]: Ends, rows: number): Promise<bigint[]> {
  if (table.kind === 'integer' && high - low < SPARSE_FACTOR * BigInt(rows)) return [low, high];
  // The most common values of a key of several columns are not in its histogram.
  const known = table.mapping.sourceKey.length === 1 ? await readHistogram(table) : [];
  const inner = known.length > 2 ? known : await readSample(table, rows);
  // What came since the statistics were made is counted to the outer ones.
  return [low, ...inner.filter((one) => one > low && one < high), high];
}

async function readHistogram({ client, kind, mapping: { from, sourceKey } }: Keyed): Promise<bigint[]> {
  const sql = `SELECT unnest(s.histogram_bounds::text::text[]) AS bound FROM pg_stats s
    WHERE s.schemaname = $1 AND s.tablename = $2 AND s.attname = $3
      AND s.inherited = (SELECT c.relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)`;
  const rows = await queryRows(client, sql, [from.schema, from.name, sourceKey[0]]);
  return rows.map((row) => keyNumber(kind, row['bound']!));
}

async function readSample({ client, kind, column, from }: Keyed, rows: number): Promise<bigint[]> {
  const percent = Math.min(100, (100 * SAMPLED_ROWS) / rows);
  const sampled = await queryRows(
    client,
    `SELECT q.k::text AS k FROM (SELECT ${column} AS k, row_number() OVER (ORDER BY ${column}) AS n, count(1) OVER () AS c
       FROM ${from} TABLESAMPLE SYSTEM (${percent}) REPEATABLE (1)) q WHERE q.n % greatest(q.c / 1000, 1) = 0 ORDER BY q.n`,
  );
  return sampled.map((row) => keyNumber(kind, row['k']!));
}

/** Between two of the keys given, rows are taken to lie evenly. */
function cutEvenly(keys: readonly bigint[], parts: number): bigint[] {
  const SCALE = 1_000_000n;
  const cuts: bigint[] = [];
  for (let i = 1; i < parts; i++) {
    const place = (i * (keys.length - 1)) / parts;
    const at = Math.min(Math.floor(place), keys.length - 2);
    const [from, to] = [keys[at]!, keys[at + 1]!];
    const cut = from + ((to - from) * BigInt(Math.round((place - at) * Number(SCALE)))) / SCALE;
    if (cuts.length === 0 || cut > cuts.at(-1)!) cuts.push(cut);
  }
  return cuts;
}

function rangesBetween(kind: RangeKind, cuts: readonly bigint[]): KeyRange[] {
  const texts = cuts.map((cut) => keyTextOf(kind, cut));
  return [undefined, ...texts].map((low, i) => ({ low, high: texts[i] }));
}
