import { expect, test } from 'vitest';
import { changeRules, type ReadsValue, type RulesChange, type Side } from '#schemas/flags/read-rules.ts';
import { closedReasons, requireReadsGate } from '#schemas/flags/reads-gate.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';

const READY: StatusResult = {
  name: 'shop',
  phase: 'following',
  tables: [{ from: 'public.a', to: 'app.a', phase: 'following', rowsCopied: 3, rowsEstimated: 3, changesApplied: 7 }],
  lag: { bytes: 0, seconds: 0, known: true },
  source: { lsn: '0/16B3748', slot: { retainedBytes: 12, status: 'reserved' } },
  applied: { lsn: '0/16B3748', exact: true },
  copy: { paused: false, maxRowsPerSecond: null, maxBytesPerSecond: null, refused: [] },
  restarts: 1,
  deadLetters: 0,
  drift: null,
  plan: null,
};

function reads(value: ReadsValue): RulesChange {
  return { kind: 'reads', reads: value };
}

function closed(change: RulesChange, status: Partial<StatusResult> = {}, serves: Side = 'source'): readonly string[] {
  return closedReasons({ document: { serves }, change, status: { ...READY, ...status } });
}

const NOT_READY: readonly Partial<StatusResult>[] = [
  { phase: 'copying' },
  { phase: 'planned', tables: [] },
  { tables: [{ ...READY.tables[0]!, phase: 'held' }] },
  { lag: { bytes: null, seconds: null, known: false } },
  { lag: { bytes: 9, seconds: 31, known: true } },
  { drift: 1 },
];

test('reads go to the target only when it shows the present, whole', () => {
  for (const value of ['target', { targetPercent: 1 }] as const) {
    expect(closed(reads(value))).toEqual([]);
    for (const status of NOT_READY) expect(closed(reads(value), status).length, JSON.stringify(status)).toBeGreaterThan(0);
  }
  expect(() => requireReadsGate({ document: { serves: 'source' }, change: reads('target'), status: { ...READY, drift: 2 } })).toThrow(
    /2 differences/,
  );
});

test('what is answered by the store that serves is always allowed', () => {
  for (const status of NOT_READY) {
    for (const value of ['source', 'shadow', 'default', { shadowPercent: 50 }, { targetPercent: 0 }] as const)
      expect(closed(reads(value), status)).toEqual([]);
    expect(closed({ kind: 'kill', kill: true }, status)).toEqual([]);
    expect(closed({ kind: 'follow-writes' }, status)).toEqual([]);
    expect(closed(reads('target'), status, 'target')).toEqual([]);
  }
});

test('nobody is sent back to a source that does not serve', () => {
  expect(closed(reads('source'), {}, 'target')).toHaveLength(1);
  expect(closed(reads('shadow'), {}, 'target')).toEqual([]);
});

test('releasing reads is sending them where the rules do', () => {
  const rules = changeRules(undefined, reads('target'), 'salt');
  const change = { kind: 'kill', kill: false } as const;
  const status = { ...READY, phase: 'copying' as const };
  expect(closedReasons({ document: { serves: 'source', rules }, change, status })).toHaveLength(1);
  expect(closedReasons({ document: { serves: 'source' }, change, status })).toEqual([]);
});
