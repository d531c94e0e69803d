import { setTimeout as delay } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { Monitor } from '#services/reconciler/monitor/monitor.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { compile } from '#test/support/compile.ts';

const SQL = 'CREATE TABLE a (id text PRIMARY KEY)';
const { mapping } = await compile({ source: SQL, target: SQL });
const NOTHING: VerifyResult = { at: { lsn: null }, tables: [], differences: 0, inconclusive: 0 };
const WAITED_MS = 1_000;

/** When each round began, with one that is `waited` or `worked` for a second. */
async function secondRoundAfter(kind: 'waited' | 'worked', withinMs: number): Promise<number | undefined> {
  const began: number[] = [];
  const monitor = new Monitor({
    tables: mapping!.tables,
    compare: async (_parts, _signal, onWaited) => {
      began.push(performance.now());
      await delay(WAITED_MS);
      if (kind === 'waited') onWaited(WAITED_MS);
      return NOTHING;
    },
    isFollowing: () => true,
    cut: async () => new Map(),
    touched: { drain: () => new Map() },
    sourceLsn: () => null,
    record: { open: async () => [], save: async () => undefined },
    settings: { budget: 0.1, startAfterMs: 0, sweepMs: 1 },
    logger: silentLogger,
  });
  const stop = new AbortController();
  const ran = monitor.run(stop.signal);
  await vi.waitFor(() => expect(began).toHaveLength(2), { timeout: withinMs, interval: 20 }).catch(() => undefined);
  stop.abort();
  await ran;
  return began[1] === undefined ? undefined : began[1] - began[0]!;
}

test('a round is rested for by the budget, and what the target was waited for is not', { timeout: 30_000 }, async () => {
  // Of a second's work nine are rested for at a tenth: the time given is not enough.
  const [waited, worked] = await Promise.all([secondRoundAfter('waited', 20_000), secondRoundAfter('worked', 6_000)]);
  expect(waited).toBeGreaterThanOrEqual(WAITED_MS);
  expect(waited).toBeLessThan(9_000);
  expect(worked).toBeUndefined();
});
