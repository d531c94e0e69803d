/**
 * Which pairs of a source table and a target this migration keeps progress of. Guarantee: rows that a target has already are kept, taken
 * away or refused as the file says of each pair that is new (in a transaction that a reader of the target knows as ours); and a pair that the file left out for a while is new when it comes back, for
 * nobody brought it the changes meanwhile.
 */
import type pg from 'pg';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { MESSAGE_PREFIX, originMessage } from '#schemas/frame/frame.ts';
import { pairId, tableId, type CompiledMapping, type Pair, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { ownOrNobodysSql } from '#schemas/mapping/share.ts';
import { quoteTable } from '#schemas/table.ts';
import { PAIR, pairOf, readTableProgress } from './progress.ts';
import type { TargetOptions } from './open-target.ts';
import type { TableRanks } from './table-order.ts';
import { deleteAll, truncateTables } from './table-writer.ts';

/** @throws PipelineError CF-5004 naming every filled table. */
export async function registerTables(
  client: pg.Client,
  { mapping, copied, published }: Pick<TargetOptions, 'mapping' | 'copied' | 'published'>,
  { rank }: Pick<TableRanks, 'rank'>,
): Promise<void> {
  const known = await readTableProgress(client, mapping.name);
  const fresh = freshPairs(mapping, known);
  const gone = gonePairs(mapping, known, published);
  if (fresh.length === 0 && gone.length === 0) return;
  await client.query('BEGIN');
  try {
    await client.query(`SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', $1)`, [originMessage(mapping.name)]);
    for (const pair of gone) {
      await client.query(`DELETE FROM crossfade.table_progress WHERE ${PAIR}`, [...pairOf(mapping.name, pair)]);
      await client.query(`DELETE FROM crossfade.blocked WHERE ${PAIR} AND discarded_at IS NULL`, [...pairOf(mapping.name, pair)]);
    }
    const truncated = fresh.filter(({ existing }) => existing === 'truncate');
    await emptyAll(
      client,
      truncated.toSorted((a, b) => rank(b) - rank(a)),
    );
    await refuseFilled(client, fresh);
    const missed = new Set([...known.map(({ from }) => tableId(from)), ...(copied ?? [])]);
    await addAll(client, { name: mapping.name, fresh, missed });
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    if ((error as { code?: string }).code !== '42501') throw error;
    throw new PipelineError('CF-5002', `cannot register the target's tables: ${messageOf(error)}`, { cause: error });
  }
}

/** Pairs of the file that have no progress yet. */
export function freshPairs<P extends Pair>({ tables }: { readonly tables: readonly P[] }, known: readonly Pair[]): readonly P[] {
  const seen = new Set(known.map(pairId));
  return tables.filter((table) => !seen.has(pairId(table)));
}

/** No longer in the file, while their source table is, be it for another target: of a table that is left out altogether its publication tells (reader). */
function gonePairs({ tables }: CompiledMapping, known: readonly Pair[], published: ReadonlySet<string> | undefined): readonly Pair[] {
  const kept = new Set(tables.map(pairId));
  const sources = published ?? new Set(tables.map(({ from }) => tableId(from)));
  return known.filter((pair) => sources.has(tableId(pair.from)) && !kept.has(pairId(pair)));
}

/** Referring tables first: where one is shared, no single TRUNCATE takes all. */
async function emptyAll(client: pg.Client, tables: readonly TableMapping[]): Promise<void> {
  if (tables.length === 0) return;
  await client.query('SAVEPOINT emptied');
  try {
    for (const sql of truncateTables(tables)) await client.query(sql);
  } catch (error) {
    if ((error as { code?: string }).code !== REFERRED_TO) throw error;
    await client.query('ROLLBACK TO emptied');
    for (const table of tables) await client.query(deleteAll(table));
  }
}

/** feature_not_supported: "cannot truncate a table referenced in a foreign key constraint". */
const REFERRED_TO = '0A000';

async function refuseFilled(client: pg.Client, fresh: readonly TableMapping[]): Promise<void> {
  const filled: string[] = [];
  for (const table of fresh.filter(({ existing }) => existing === 'refuse')) {
    const found = await client.query(`SELECT FROM ${quoteTable(table.to)} WHERE ${ownOrNobodysSql(table) ?? 'true'} LIMIT 1`);
    if ((found.rowCount ?? 0) > 0) filled.push(`${table.to.schema}.${table.to.name}`);
  }
  if (filled.length > 0) throw new PipelineError('CF-5004', `the target already holds rows in ${filled.join(', ')}`);
}

/** Of a source table whose chunks went by already (elsewhere, or before) only a re-copy brings all rows: it is asked for as after a resume. */
async function addAll(
  client: pg.Client,
  { name, fresh, missed }: { readonly name: string; readonly fresh: readonly TableMapping[]; readonly missed: ReadonlySet<string> },
): Promise<void> {
  await client.query(
    `INSERT INTO crossfade.table_progress (name, source_schema, source_table, target_schema, target_table, state, held_offset)
     SELECT $1, s, t, ts, tt, CASE WHEN copied THEN 'copying' ELSE 'waiting' END, CASE WHEN copied THEN 0 END
     FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[]) AS x (s, t, ts, tt, copied)`,
    [
      name,
      ...(['from', 'to'] as const).flatMap((side) => [fresh.map((table) => table[side].schema), fresh.map((table) => table[side].name)]),
      fresh.map(({ from }) => missed.has(tableId(from))),
    ],
  );
}
