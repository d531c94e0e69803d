/**
 * A fence of the simplest kind: a lock that writers wait for, and a marker that the target has applied. Shares no code with the product's.
 */
import { expect } from 'vitest';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteTable } from '#schemas/table.ts';
import { type ApplicationSession, openSession } from '#test/support/application.ts';

export interface TestFence extends AsyncDisposable {
  readonly marker: Lsn;
  /** Since the lock was granted. */
  readonly drainedMs: number;
}

export interface Fenced {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly mapping: CompiledMapping;
}

/** Locks, then waits until the target shows all that was written before. Let go when disposed of. */
export async function testFence({ sourceUrl, targetUrl, mapping }: Fenced): Promise<TestFence> {
  await using stack = new AsyncDisposableStack();
  const session = stack.use(await openSession(sourceUrl));
  await using other = await openSession(sourceUrl);
  await using target = await openSession(targetUrl);
  const tables = new Set(mapping.tables.map(({ from }) => quoteTable(from)));
  await lockAll(session, `LOCK TABLE ${[...tables].join(', ')} IN SHARE ROW EXCLUSIVE MODE`);
  const lockedAtMs = performance.now();
  const [row] = await other.query(`SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', '{"kind":"heartbeat"}')::text AS lsn`);
  const applied = `SELECT name FROM crossfade.progress WHERE name = $1 AND applied_lsn >= $2::pg_lsn`;
  await expect
    .poll(async () => (await target.query(applied, [mapping.name, row!['lsn']])).length, { timeout: 30_000, interval: 2 })
    .toBe(1);
  const kept = stack.move();
  const marker = parseLsn(row!['lsn']!);
  return { marker, drainedMs: performance.now() - lockedAtMs, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
}

const TRIES = 20;

/** Transactions that write several tables meet it in another order. */
async function lockAll(session: ApplicationSession, lock: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    await session.query('BEGIN');
    try {
      await session.query(lock);
      return;
    } catch (error) {
      await session.query('ROLLBACK');
      if ((error as { code?: string }).code !== '40P01' || tries === TRIES) throw error;
    }
  }
}
