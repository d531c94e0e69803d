/** While the target serves the monitor compares nothing and says so; afterwards it compares all anew. */
import { expect, test, vi } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { Monitor } from '#services/reconciler/monitor/monitor.ts';
import { silentLogger } from '#services/runtime/service.ts';

const TABLE: TableMapping = {
  from: { schema: 'public', name: 'a' },
  to: { schema: 'public', name: 'a' },
  columns: [],
  sourceKey: [],
  targetKey: [],
  overridesIdentity: false,
  existing: 'refuse',
  dropped: [],
};

test('silent while the target serves', async () => {
  let serves: 'source' | 'target' = 'source';
  let compared = 0;
  const monitor = new Monitor({
    tables: [TABLE],
    compare: async () => {
      compared++;
      const counts = { rowsSource: 3, rowsTarget: 3, missing: 0, extra: 0, different: 0, sample: [] };
      return {
        at: { lsn: '0/10' },
        tables: [{ from: 'public.a', to: 'public.a', ...counts, lsn: '0/10' }],
        differences: 0,
        inconclusive: 0,
      };
    },
    isFollowing: () => true,
    serves: () => serves,
    cut: async () => new Map(),
    touched: { drain: () => new Map() },
    sourceLsn: () => '0/10',
    record: { open: async () => [], save: async () => undefined },
    settings: { budget: 1, startAfterMs: 0, sweepMs: 3_600_000 },
    logger: silentLogger,
  });
  const stop = new AbortController();
  const running = monitor.run(stop.signal);
  await vi.waitFor(() => expect(monitor.status()).toMatchObject({ proved: 1 }), { timeout: 10_000 });
  expect(monitor.status()).not.toHaveProperty('silent');
  serves = 'target';
  expect(monitor.status()).toMatchObject({ silent: true, proved: null, provedSince: null });
  const before = compared;
  // The turn in which it notices that the target serves has passed once it compares again.
  await vi.waitFor(() => expect(monitor.silenced).toBe(true), { timeout: 10_000 });
  expect(compared).toBe(before);
  serves = 'source';
  await vi.waitFor(() => expect(compared).toBe(before + 1), { timeout: 10_000 });
  stop.abort();
  await running;
});
