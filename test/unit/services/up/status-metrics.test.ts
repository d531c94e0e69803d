import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { driftByCause, inconclusiveByCause } from '#schemas/reconcile/drift-cause.ts';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import { type StatusResult, UNKNOWN_COPY } from '#schemas/status/status-result.ts';
import { lastDrift, storeLastVerify } from '#services/runtime/last-verify.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { registerStatusMetrics } from '#services/up/instance-metrics.ts';

const STATUS: StatusResult = {
  name: 'shop',
  phase: 'following',
  tables: [],
  lag: { bytes: 12, seconds: 1.5, known: true },
  source: { lsn: null, slot: { retainedBytes: null, status: null } },
  applied: { lsn: null, exact: false },
  copy: { ...UNKNOWN_COPY, paused: true },
  restarts: 0,
  deadLetters: 0,
  drift: 0,
  plan: null,
};

async function samplesOf(status: StatusResult | undefined): Promise<string[]> {
  const meter = createMeter();
  registerStatusMetrics(meter, () => status);
  return (await meter.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#')); // prettier-ignore
}

test('lag, drift and a pause are gauges; what is unknown has no sample, and never a zero', async () => {
  expect(await samplesOf(STATUS)).toEqual([
    'crossfade_lag_bytes 12',
    'crossfade_lag_seconds 1.5',
    'crossfade_drift_rows 0',
    'crossfade_copy_paused 1',
    'crossfade_tables_held 0',
    'crossfade_dead_letters 0',
  ]);
  const unknown = { ...STATUS, lag: { bytes: null, seconds: null, known: false }, copy: UNKNOWN_COPY, drift: null };
  expect(await samplesOf(unknown)).toEqual(['crossfade_tables_held 0', 'crossfade_dead_letters 0']);
  expect(await samplesOf(undefined)).toEqual([]);
});

test('drift counts once, under its cause or how it shows; what was not judged counts apart', async () => {
  const one = { rows: 1, state: 'confirmed' } as const;
  const reconciliation: ReconciliationStatus = {
    proved: 0.5,
    provedSince: null,
    comparedAt: null,
    comparisons: 3,
    suspected: 4,
    confirmed: 2,
    repairing: 0,
    inconclusive: 2,
    driftByCause: driftByCause([
      { ...one, kind: 'missing', cause: 'held' },
      { ...one, kind: 'different' },
      { kind: 'extra', rows: 4, state: 'suspected' },
      { ...one, kind: 'missing', state: 'verified' },
    ]),
    inconclusiveByCause: inconclusiveByCause(['lag', 'lag']),
  };
  const samples = await samplesOf({ ...STATUS, reconciliation });
  expect(samples.filter((line) => line.startsWith('crossfade_drift_by_cause'))).toEqual([
    'crossfade_drift_by_cause{cause="held"} 1',
    'crossfade_drift_by_cause{cause="foreign"} 0',
    'crossfade_drift_by_cause{cause="missing"} 0',
    'crossfade_drift_by_cause{cause="extra"} 4',
    'crossfade_drift_by_cause{cause="different"} 1',
  ]);
  expect(samples.filter((line) => line.startsWith('crossfade_inconclusive_by_cause') && !line.endsWith(' 0'))).toEqual([
    'crossfade_inconclusive_by_cause{cause="lag"} 2',
  ]);
});

test('drift is unknown until something was compared, and where none was found but not everything could be', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-drift-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const table = (from: string, changes: Partial<TableVerdict> = {}): TableVerdict => ({
    from, to: from, lsn: '0/1', rowsSource: 1, rowsTarget: 1, missing: 0, extra: 0, different: 0, sample: [], ...changes,
  }); // prettier-ignore
  const store = (tables: readonly TableVerdict[], isWhole = false): Promise<void> =>
    storeLastVerify(directory, { result: { at: { lsn: '0/1' }, tables, differences: 0, inconclusive: 0 } satisfies VerifyResult, isWhole });
  expect(lastDrift(directory)).toBeNull();
  await store([table('a'), table('b')]);
  expect(lastDrift(directory)).toBe(0);
  await store([table('b', { inconclusive: { cause: 'lag', message: 'behind' } })]);
  expect(lastDrift(directory)).toBeNull();
  await store([table('a', { missing: 2 })]);
  expect(lastDrift(directory)).toBe(2);
  // What was told of a table that the file no longer has ends with the next comparison of all.
  await store([table('b')]);
  expect(lastDrift(directory)).toBe(2);
  await store([table('b')], true);
  expect(lastDrift(directory)).toBe(0);
});
