/**
 * Keeps rows in their unit while units are written in two stores. Guarantee: where `keepsUnits` says so, an UPDATE that gives one of the fence's rows to others, or another
 * row to it, is refused, whether the fence is up or down, from `prepare` until it is dropped; nobody else pays more than a condition.
 *
 * A row that leaves its unit leaves the store of that unit: where the other unit is not written, nobody would bring it home. And where the key does not hold the
 * unit, two pipelines write one row: the one that lags would put back, or take away, what the other one has brought.
 *
 * It is refused as a CHECK refuses it (23514), not as what has moved is: whoever follows a fence to the other store has nothing to do there.
 */
import type pg from 'pg';
import type { FencedTable } from '#connectors/fence/fence.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { fenceTriggerName } from '#schemas/fence-names.ts';
import { quoteLiteral, quoteTable } from '#schemas/table.ts';
import { dropTriggerFunction, ensureTriggerFunction } from './trigger-function.ts';
import { type Fenced, foreignSql, type Member, rowsSql, type Told } from './triggers.ts';
import { withTries } from './tries.ts';

const FUNCTION = 'crossfade.refuse_move()';
const BODY = `
BEGIN
  RAISE EXCEPTION USING ERRCODE = '23514', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
    MESSAGE = pg_catalog.format('Crossfade: a row of %I.%I cannot change its unit here while units move one by one (migration %s)',
      TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0]),
    HINT = 'Delete it where its unit is written, and insert it where the other one is.';
END`;

interface GuardParts {
  readonly options: Told & { readonly tables: readonly FencedTable[] };
  readonly members: readonly Member[];
  readonly lockMs: number;
}

/** A partition's is its root's, cloned. */
export async function prepareGuards(client: pg.Client, { options, members, lockMs }: GuardParts): Promise<void> {
  const wanted = members.filter(
    ({ rows, keepsUnits, isPartition, isForeign }) => rows !== undefined && keepsUnits && !isPartition && !isForeign,
  );
  if (wanted.length === 0) return;
  await ensureTriggerFunction(client, FUNCTION, BODY);
  for (const member of wanted) await makeGuard(client, { options, member, lockMs });
}

async function makeGuard(
  client: pg.Client,
  { options, member, lockMs }: { readonly options: Told; readonly member: Member; readonly lockMs: number },
): Promise<void> {
  const trigger = fenceTriggerName(options.name, 'mov');
  const change = `(${rowsSql(member.rows!, 'OLD')}) <> (${rowsSql(member.rows!, 'NEW')})`;
  // What it says of whom is in its arguments, too, so that one that says something else is known.
  const told = [options.name, change, (options.exempt ?? []).join()];
  const hex = Buffer.from(told.map((text) => `${text}\0`).join('')).toString('hex');
  const found = await queryRow(
    client,
    `SELECT encode(tgargs, 'hex') AS args FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname = $2 AND tgfoid = to_regprocedure('${FUNCTION}')`,
    [quoteTable(member), trigger],
  );
  if (found?.['args'] === hex) return;
  await withTries(client, { lockMs, what: `the guard of ${quoteTable(member)}'s units could not be made` }, async () => {
    await client.query(
      `CREATE OR REPLACE TRIGGER ${trigger} BEFORE UPDATE ON ${quoteTable(member)} FOR EACH ROW WHEN (${foreignSql(options)} AND ${change})
         EXECUTE FUNCTION crossfade.refuse_move(${told.map(quoteLiteral).join(', ')})`,
    );
  });
}

/** @throws PipelineError CF-8101 */
export async function dropGuards(client: pg.Client, { name }: Fenced, lockMs: number): Promise<void> {
  const trigger = fenceTriggerName(name, 'mov');
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS table FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgname = $1 AND t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgparentid = 0 ORDER BY 1, 2`,
    [trigger],
  );
  for (const row of rows) {
    const table = quoteTable({ schema: row['schema']!, name: row['table']! });
    await withTries(client, { lockMs, what: `the guard of ${table}'s units could not be dropped` }, async () => {
      await client.query(`DROP TRIGGER IF EXISTS ${trigger} ON ${table}`);
    });
  }
  await dropTriggerFunction(client, FUNCTION);
}
