/** A repair that is asked for while a round is written down: what is kept in the end is the last that is known. */
import { expect, test, vi } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import { Monitor } from '#services/reconciler/monitor/monitor.ts';
import { silentLogger } from '#services/runtime/service.ts';

const WAIT = { timeout: 20_000 };
const NAME = { schema: 'public', name: 'a' };
const TABLE: TableMapping = {
  from: NAME,
  to: NAME,
  columns: [],
  sourceKey: [],
  targetKey: [],
  overridesIdentity: false,
  existing: 'refuse',
  dropped: [],
};
const DIFFERS = { key: { id: '1' }, sourceKey: ['1'], kind: 'different' as const, columns: ['v'] };

test('findings are written down in their order, however long one writing takes', async () => {
  let differs = true;
  let lsn = 16;
  const slow = Promise.withResolvers<void>();
  const kept = new Map<string, DriftFinding>();
  const monitor = new Monitor({
    tables: [TABLE],
    compare: async () => {
      const counts = { rowsSource: 3, rowsTarget: 3, missing: 0, extra: 0, different: differs ? 1 : 0, sample: differs ? [DIFFERS] : [] };
      const at = { lsn: `0/${(lsn++).toString(16)}` };
      return { at, tables: [{ from: 'public.a', to: 'public.a', ...counts, ...at }], differences: counts.different, inconclusive: 0 };
    },
    isFollowing: () => true,
    cut: async () => new Map(),
    touched: { drain: () => new Map() },
    sourceLsn: () => '0/10',
    record: {
      open: async () => [],
      save: async (findings) => {
        if (findings.some(({ state }) => state === 'repairing')) await slow.promise;
        for (const one of findings) kept.set(one.id, one);
      },
    },
    settings: { budget: 1, startAfterMs: 0, sweepMs: 1 },
    logger: silentLogger,
  });
  const stop = new AbortController();
  const running = monitor.run(stop.signal);
  await vi.waitFor(() => expect(monitor.status()).toMatchObject({ confirmed: 1 }), WAIT);
  differs = false;
  monitor.repairAsked({ kind: 'table', schema: 'public', table: 'a', reason: 'a test' });
  const before = monitor.status().comparisons;
  await vi.waitFor(() => expect(monitor.status().comparisons).toBeGreaterThan(before), WAIT);
  slow.resolve();
  await vi.waitFor(() => expect(monitor.status()).toMatchObject({ confirmed: 0, repairing: 0 }), WAIT);
  stop.abort();
  await running;
  expect([...kept.values()].map(({ steps }) => steps.map(({ state }) => state))).toEqual([
    ['suspected', 'confirmed', 'repairing', 'verified'],
  ]);
});
