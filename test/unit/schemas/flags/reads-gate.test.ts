import { describe, expect, test } from 'vitest';
import { DUAL_STAGES, type DualStage, stageBehaviour } from '#schemas/flags/dual-stages.ts';
import { decideRead, evaluate, flagKeys, stageOf } from '#schemas/flags/evaluate.ts';
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import { flagDocumentSchema } from '#schemas/flags/flag-schema.ts';
import { changeRules, type ReadRules, readsOf, type ReadsValue, type RulesChange, type Side } from '#schemas/flags/read-rules.ts';
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

describe('a stage of dual writes', () => {
  const rules = (dual: DualStage): ReadRules => changeRules(undefined, { kind: 'stage', stage: dual }, 'salt');
  const at = (dual: DualStage, to: DualStage, serves: Side = 'source', status: Partial<StatusResult> = {}): readonly string[] =>
    closedReasons({ document: { serves, rules: rules(dual) }, change: { kind: 'stage', stage: to }, status: { ...READY, ...status } });

  test('moves one step, across the flip by the flip only', () => {
    for (const from of DUAL_STAGES) {
      const serves = stageBehaviour(from).answers;
      for (const to of DUAL_STAGES) {
        const isOpen = at(from, to, serves, { drift: 0 }).length === 0;
        const by = Math.abs(DUAL_STAGES.indexOf(to) - DUAL_STAGES.indexOf(from));
        expect(isOpen, `${from} to ${to}`).toBe(by <= 1 && stageBehaviour(to).answers === serves);
      }
    }
    expect(at('shadow', 'live')).toEqual([expect.stringContaining('crossfade cutover')]);
    expect(at('live', 'shadow', 'target')).toEqual([expect.stringContaining('crossfade rollback')]);
  });

  test('goes on with the copy done, and after the flip with a comparison that was clean; back however things stand', () => {
    for (const status of NOT_READY.filter(({ drift }) => drift === undefined)) {
      expect(at('dualwrite', 'shadow', 'source', status)).not.toEqual([]);
      expect(at('shadow', 'dualwrite', 'source', status)).toEqual([]);
    }
    expect(at('dualwrite', 'shadow', 'source', { drift: 3 })).toEqual([]);
    expect(at('off', 'dualwrite', 'source', { phase: 'planned' })).not.toEqual([]);
    for (const drift of [null, 2]) expect(at('live', 'rampdown', 'target', { drift })).not.toEqual([]);
    expect(at('rampdown', 'live', 'target', { drift: 2 })).toEqual([]);
  });

  test('is what the flip says of it, and reads go by it', () => {
    const document = (dual: DualStage, serves: Side): FlagDocument => ({ name: 'shop', epoch: 1, state: 1, serves, rules: rules(dual) });
    for (const dual of DUAL_STAGES) {
      const { answers } = stageBehaviour(dual);
      expect(stageOf(document(dual, answers))).toBe(dual);
      expect(stageOf(document(dual, 'source'))).toBe(answers === 'source' ? dual : 'shadow');
      expect(stageOf(document(dual, 'target'))).toBe(answers === 'target' ? dual : 'live');
      for (const serves of ['source', 'target'] as const) {
        const one = document(dual, serves);
        const { compares, answers: answering } = stageBehaviour(stageOf(one)!);
        expect(answering).toBe(serves);
        expect(decideRead(one, {})).toMatchObject({ stage: compares ? 'shadow' : serves, rule: 'dual-write' });
        expect(readsOf(one.rules, serves)).toBe(serves);
        expect(evaluate(one, 'shop.stage', {})).toMatchObject({ value: stageOf(one)!, metadata: { read_from: serves, write_to: serves } });
        expect(flagDocumentSchema.parse(one)).toEqual(one);
      }
    }
    const plain: FlagDocument = { name: 'shop', epoch: 1, state: 1, serves: 'source' };
    expect([flagKeys(plain), evaluate(plain, 'shop.stage', {})]).toEqual([['shop.reads', 'shop.writes'], undefined]);
    expect(closedReasons({ document: document('shadow', 'source'), change: reads('target'), status: READY })).not.toEqual([]);
  });
});
