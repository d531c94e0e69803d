/**
 * Takes a fence down, and away. Guarantee: lifting blocks no reader (the triggers are put to sleep, not dropped) and is all or nothing; a lift
 * for an epoch that a later fence has overtaken, or that was made void here, does nothing, however late it comes; one that does something is in the journal.
 */
import type pg from 'pg';
import type { FenceOptions, FenceState } from '#connectors/fence/fence.ts';
import { echoDecision } from '#connectors/postgres/journal.ts';
import { requireRenames } from '#connectors/postgres/renames.ts';
import { quoteTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { lockOrder, lockQuietly, lockTables } from './lock-tables.ts';
import { fenceSessionName, lockingFacts, withSession } from './session.ts';
import { disabling, dropFunction, isAwake, isOwnTrigger, readAwake, readCarriers, readMembers } from './triggers.ts';
import { withTries } from './tries.ts';
import { dropGuards } from './unit-guard.ts';

/** DROP TRIGGER wants the table for itself: readers queue behind it, so it waits less. */
const DROP_LOCK_MS = 100;

/** @throws PipelineError CF-8101 */
export async function liftFence(options: FenceOptions, epoch: bigint): Promise<boolean> {
  return withSession(options, 'lifted', async (client) => {
    // The COMMIT that swapped the names has opened it, and applications write there.
    if (options.swap !== undefined && (await readAwake(client, options)).length === 0) return true;
    const { pid, safeLockMs: limitMs } = await lockingFacts(client);
    return withSession(options, 'lifted', async (observer) =>
      withTries(client, { lockMs: limitMs, what: `the fence on the ${options.side} could not be lifted` }, async () => {
        const carriers = await readCarriers(client, options);
        if (carriers.length === 0 && !(await hasJournal(client))) return true;
        if (carriers.length > 0) {
          const tables = await lockOrder(client, carriers);
          // What a fence that is being raised locks, too: it is either seen below, or comes after us.
          await lockQuietly({ client, pid, observer, tables, isOnly: true });
          await lockTables({ client, pid, observer, tables, isOnly: true, limitMs });
        }
        if (!(await isTaken(client, options, epoch))) return false;
        const locked = await readCarriers(client, options);
        await client.query(['SET LOCAL statement_timeout = 0', ...locked.map((table) => disabling(table, table.triggers))].join(';\n'));
        return true;
      }),
    );
  });
}

/**
 * The decision is the last one that this side knows of, and stands in its journal from here on: should the other side lose it, this one was opened by
 * something that everybody can read.
 */
async function isTaken(client: pg.ClientBase, options: FenceOptions, epoch: bigint): Promise<boolean> {
  if (guarded('fence-overtaken') && (await isOvertaken(client, options, epoch))) return false;
  if (epoch === 0n || !guarded('lift-echo')) return true;
  return echoDecision(client, { name: options.name, epoch, serves: options.side });
}

/** Where a fence was ever prepared there is one. */
async function hasJournal(client: pg.ClientBase): Promise<boolean> {
  return (await client.query(`SELECT WHERE to_regclass('crossfade.journal') IS NOT NULL`)).rowCount === 1;
}

async function isOvertaken(client: pg.ClientBase, { name }: FenceOptions, epoch: bigint): Promise<boolean> {
  const found = await client.query(
    `SELECT FROM crossfade.journal WHERE name = $1 AND epoch > $2::bigint AND details ->> 'void' IS DISTINCT FROM 'true' LIMIT 1`,
    [name, String(epoch)],
  );
  return found.rowCount === 1;
}

/** Nothing of the fence stays; a table at a time, for a short lock each. @throws PipelineError CF-8101 */
export async function dropFence(options: FenceOptions): Promise<void> {
  return withSession(options, 'dropped', async (client) => {
    for (const table of await readCarriers(client, options)) {
      await withTries(
        client,
        { lockMs: DROP_LOCK_MS, what: `the fence's triggers on ${quoteTable(table)} could not be dropped` },
        async () => {
          for (const trigger of table.triggers.filter((one) => isOwnTrigger(options, one, table)))
            await client.query(`DROP TRIGGER IF EXISTS ${trigger} ON ${quoteTable(table)}`);
        },
      );
    }
    await dropFunction(client);
    await dropGuards(client, options, DROP_LOCK_MS);
  });
}

export async function fenceState(options: FenceOptions): Promise<FenceState> {
  return withSession(options, 'looked at', async (client) => {
    if (options.swap !== undefined) await requireRenames(client, options.name, options.swap.standing);
    const members = await readMembers(client, options);
    const open = members.filter((member) => !isAwake(member)).map(({ schema, name }) => ({ schema, name }));
    if (open.length === 0) return { state: 'up', open };
    if (members.some(({ row, statement }) => [row.enabled, statement.enabled].some((enabled) => enabled !== undefined && enabled !== 'D')))
      return { state: 'partly', open };
    return { state: members.some(({ statement }) => statement.enabled === 'D') ? 'down' : 'none', open };
  });
}

/** Of a holder whose process is not known to be dead; its transaction is then undone, unless it has committed. */
export async function endFenceSessions(options: Pick<FenceOptions, 'url' | 'name' | 'side'>): Promise<void> {
  return withSession(options, 'ended', async (client) => {
    await client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()`,
      [fenceSessionName(options.name).slice(0, 63)],
    );
  });
}
