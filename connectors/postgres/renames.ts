/** `crossfade.renamed`: where the tables of a migration stand after a rename swap. Guarantee: written in the transaction that renames them, so that it is never behind. */
import type pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import type { Renames } from '#schemas/mapping/compiled-mapping.ts';
import { sameRenames } from '#schemas/mapping/renames.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { queryRow, queryRows } from './session.ts';

/** None where nothing was ever swapped. `name`: the migration's, or its reverse direction's. */
export async function readRenames(client: pg.ClientBase, name: string): Promise<Renames> {
  const there = await queryRow(client, `SELECT (to_regclass('crossfade.renamed') IS NOT NULL)::text AS there`);
  if (there?.['there'] !== 'true') return [];
  const rows = await queryRows(
    client,
    'SELECT table_schema, table_name, now_schema, now_name FROM crossfade.renamed WHERE name = $1 ORDER BY table_schema, table_name',
    [name],
  );
  return rows.map((row) => ({
    named: { schema: row['table_schema']!, name: row['table_name']! },
    now: { schema: row['now_schema']!, name: row['now_name']! },
  }));
}

/** To be asked where a swap would wait, or has waited. @throws PipelineError CF-8340 where they have other names than whoever asks goes by */
export async function requireRenames(client: pg.ClientBase, name: string, known: Renames): Promise<void> {
  if (!guarded('names-standing') || sameRenames(await readRenames(client, name), known)) return;
  throw new PipelineError('CF-8340', `the tables of ${name} have other names by now`);
}
