/**
 * What a fence needs, made before anybody waits for it. Guarantee: after it, opening the fence only has to wake triggers; every right that is
 * missing is said in one error, with the SQL that gives it; done again it changes nothing.
 */
import type pg from 'pg';
import type { FenceOptions, Prepared } from '#connectors/fence/fence.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { PipelineError } from '#schemas/errors.ts';
import { quoteTable } from '#schemas/table.ts';
import { explained } from './refusal.ts';
import { missingFor } from './rights.ts';
import { openLockSession } from './session.ts';
import { readSequences, type Sequence } from './sequences.ts';
import { prepareSwap } from './swap-names.ts';
import { creations, disabling, ensureFunction, type Member, readMembers, readNew } from './triggers.ts';
import { withTries } from './tries.ts';
import { prepareGuards } from './unit-guard.ts';

/** @throws PipelineError CF-8101, CF-8102, CF-5002 */
export async function prepareFence(options: FenceOptions): Promise<Prepared> {
  const session = await openLockSession(options);
  const { client } = session;
  try {
    await ensureSchema(client);
    await ensureFunction(client);
    if (options.swap !== undefined) await prepareSwap(client, options, options.swap);
    const members = await readMembers(client, options);
    const sequences = await readSequences(client, options.tables);
    await checkRights(client, options, { members, sequences });
    const lockMs = Math.max(1, Math.floor(Math.min(options.lockTimeoutMs, session.safeLockMs)));
    for (const member of members) await makeTriggers(client, { options, member, lockMs });
    await prepareGuards(client, { options, members, lockMs });
    return { unheld: sequences.filter(({ mayAlter }) => !mayAlter).map(({ sequence }) => sequence) };
  } catch (error) {
    throw explained(error, options.side, 'prepared');
  } finally {
    await client.end().catch(() => undefined);
  }
}

interface Existing {
  readonly members: readonly Member[];
  readonly sequences: readonly Sequence[];
}

async function checkRights(client: pg.Client, options: FenceOptions, { members, sequences }: Existing): Promise<void> {
  const found = new Set(members.map(quoteTable));
  const missing = options.tables.filter((table) => !found.has(quoteTable(table)));
  if (missing.length > 0) throw new PipelineError('CF-1008', `the ${options.side} has no table ${missing.map(quoteTable).join(', ')}`);
  const lacking = await missingFor(client, { side: options.side, setsSequences: false }, { members, sequences });
  if (lacking.length === 0) return;
  throw new PipelineError('CF-8102', lacking.map(({ message }) => message).join('; '), {
    remedy: lacking.map(({ remedy }) => remedy).join(' '),
  });
}

/** Asleep. One table at a time: its writers wait for the catalogue's update, and nobody for anybody else's. */
async function makeTriggers(client: pg.Client, parts: { options: FenceOptions; member: Member; lockMs: number }): Promise<void> {
  const { options, member, lockMs } = parts;
  const made = creations(options, member);
  // One that is awake, and says something else, is up: openFence mends it.
  if (made.length === 0 || member.row.enabled === 'A' || member.statement.enabled === 'A') return;
  await withTries(client, { lockMs, what: `the triggers of ${quoteTable(member)} could not be made` }, async () => {
    await client.query(made.join(';\n'));
    // With the partitions' clones, at once: a committed trigger that is awake refuses writes.
    const awake = await readNew(client, options, member);
    await client.query(awake.map((table) => disabling(table, table.triggers)).join(';\n'));
  });
}
