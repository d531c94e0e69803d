/**
 * A message of ours that must come before a decision or not at all. Guarantee: whoever decides on this side afterwards has it in the WAL before their marker: the
 * journal is locked while it is emitted, and a fence that is being raised has written to it.
 */
import type pg from 'pg';
import { queryRow } from '#connectors/postgres/session.ts';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { quoteLiteral } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';

const LOCK_NOT_AVAILABLE = '55P03';

function lastOf(name: string): string {
  return `(SELECT coalesce(max(epoch), 0) FROM crossfade.journal WHERE name = ${quoteLiteral(name)} AND details ->> 'void' IS DISTINCT FROM 'true')`;
}

/** Undefined: there is no journal. */
export async function lastEpoch(client: pg.ClientBase, name: string): Promise<bigint | undefined> {
  const there = await queryRow(client, `SELECT 1 AS there WHERE to_regclass('crossfade.journal') IS NOT NULL`);
  if (there === undefined) return undefined;
  return BigInt((await queryRow(client, `SELECT ${lastOf(name)}::text AS epoch`))!['epoch']!);
}

/** @returns false: a later decision than that epoch stands in the journal, or may be on its way; nothing was emitted */
export async function emitUndecided(
  client: pg.ClientBase,
  message: string,
  { name, epoch }: { readonly name: string; readonly epoch: bigint },
): Promise<boolean> {
  const emit = `pg_catalog.pg_logical_emit_message(true, ${quoteLiteral(MESSAGE_PREFIX)}, ${quoteLiteral(message)})`;
  const when = guarded('copy-undecided') ? `WHERE ${lastOf(name)} = ${epoch}` : '';
  // One round trip: nobody waits for a process that stops in between. Not waited for either: a fence holds it for as long as writers wait.
  const lock = guarded('copy-undecided') ? 'LOCK TABLE crossfade.journal IN SHARE MODE NOWAIT;' : '';
  try {
    const results = (await client.query(`BEGIN; ${lock} SELECT ${emit} ${when}; COMMIT`)) as unknown as readonly pg.QueryResult[];
    return results.at(-2)!.rowCount === 1;
  } catch (error) {
    await client.query('ROLLBACK');
    if ((error as { code?: string }).code === LOCK_NOT_AVAILABLE) return false;
    throw error;
  }
}
