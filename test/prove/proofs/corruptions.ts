/** What is claimed of the comparison that goes on while an instance runs. */
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { seeded } from '#test/support/random.ts';
import { openStorm, runCorruptions, untilProved, type CorruptionsRun } from '../corruptions/run.ts';
import { rowsOf, TABLE_KINDS } from '../corruptions/table-kinds.ts';
import { startWriters } from '../corruptions/writers.ts';
import { requireVerified } from '../proof-stage.ts';
import type { Figures, Proof } from '../proof.ts';

/** At the default budget: a round of all that is written to (133,000 rows) has to be over within a tenth of the ten seconds. */
const FULL = { rows: 100_000, perSecond: 1_000, corruptions: 200, seconds: 600, perWave: 20 };
const SMALL = { rows: 30_000, perSecond: 500, budgetPercent: 100, corruptions: 16, seconds: 0, perWave: 16 };
const DETECTED_MS_MAX = 10_000;

export const corruptionsProof: Proof = {
  name: 'corruptions',
  claim:
    'at the default budget, under 1,000 writes/s and lag, nothing is suspected that is equal, and rows that somebody else changed, and changes that went astray, are found within 10 s, named, repaired and verified',
  expectedSeconds: 700,
  needsQuiet: true,
  run: async ({ size, seed, say }) => {
    const options = size === 'full' ? FULL : SMALL;
    const run = await runCorruptions({ ...options, seed, say });
    const figures = figuresOf(run, options.rows);
    const late = run.detected.filter(({ afterMs, inPause }) => !inPause && afterMs > DETECTED_MS_MAX);
    if (size === 'full' && late.length > 0)
      throw new Error(`${late.length} corruptions were found after more than ${DETECTED_MS_MAX / 1000} s: ${JSON.stringify(figures)}`);
    return figures;
  },
};

/** The same where the changes between the two states are not looked at. */
export const corruptionsRedProof: Proof = {
  name: 'corruptions-is-red-without-its-guard',
  claim: 'with the changes between the two states ignored, the same run shows false alarms',
  expectedSeconds: 60,
  run: async ({ seed, say }) => {
    const fault = await runCorruptions({
      ...SMALL,
      corruptions: 0,
      seconds: 60,
      env: { CROSSFADE_TEST_DISABLE: 'verify-changes' },
      seed,
      say,
    }).then(
      () => undefined,
      (error: unknown) => String(error),
    );
    if (fault?.includes('false alarms') !== true) throw new Error(`no false alarm was shown, but: ${fault ?? 'nothing'}`);
    return { example: fault.split('\n')[1] ?? fault };
  },
};

const GATE_MS_MAX = 5_000;

export const gateCompareProof: Proof = {
  name: 'gate-compare',
  claim: 'when 1,000 writes/s stop, a comparison of everything at that state says within 5 s that all is equal',
  expectedSeconds: 90,
  needsQuiet: true,
  run: async ({ size, seed, say }) => {
    const { stops, writeMs } = size === 'full' ? { stops: 5, writeMs: 10_000 } : { stops: 1, writeMs: 3_000 };
    const options = { ...(size === 'full' ? FULL : SMALL), seed, say };
    const random = seeded(seed);
    await using stage = await openStorm(options);
    await using pipeline = Pipeline.start(stage.pipeline);
    await untilProved(pipeline);
    const seconds: number[] = [];
    const rates: number[] = [];
    for (let i = 0; i < stops; i++) {
      await using writers = await startWriters({ url: stage.sourceUrl, ...options, random });
      await delay(writeMs);
      const { perSecond } = await writers.stop();
      const startedAtMs = performance.now();
      await requireVerified(stage);
      seconds.push((performance.now() - startedAtMs) / 1000);
      rates.push(perSecond);
      say(`${perSecond} writes/s stopped; compared in ${seconds.at(-1)!.toFixed(2)} s`);
    }
    const longest = Math.max(...seconds);
    if (size === 'full' && longest * 1000 > GATE_MS_MAX) throw new Error(`it took ${seconds.map((one) => one.toFixed(2)).join(', ')} s`);
    return { 'writes/s': Math.min(...rates), stops, 'seconds at most': Number(longest.toFixed(2)), tables: TABLE_KINDS.length };
  },
};

function figuresOf({ detected, pauses, lagMaxSeconds, ...run }: CorruptionsRun, largest: number): Figures {
  const outside = detected.flatMap(({ afterMs, inPause }) => (inPause ? [] : [afterMs])).toSorted((one, other) => one - other);
  const at = (share: number): number => Number(((outside[Math.floor((outside.length - 1) * share)] ?? 0) / 1000).toFixed(1));
  const deeds = Map.groupBy(detected, ({ corruption }) => corruption.deed);
  return {
    'row writes': run.rows,
    'writes/s': run.perSecond,
    'false alarms': 0,
    corruptions: detected.length,
    ...Object.fromEntries([...deeds].map(([deed, some]) => [deed, some.length])),
    'rows of the tables': TABLE_KINDS.reduce((sum, kind) => sum + rowsOf(kind, largest), 0),
    'kinds of table': new Set(detected.map(({ corruption }) => corruption.table.name)).size,
    'found outside a pause': outside.length,
    'p50 s': at(0.5),
    'p95 s': at(0.95),
    'max s': at(1),
    'max s in a pause': Number((Math.max(0, ...detected.filter((one) => one.inPause).map(({ afterMs }) => afterMs)) / 1000).toFixed(1)),
    pauses: pauses.length,
    'lag s at most': Number(lagMaxSeconds.toFixed(1)),
    comparisons: run.comparisons,
  };
}
