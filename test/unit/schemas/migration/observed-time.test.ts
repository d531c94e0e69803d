/** How long the target was watched, and when it is compared again: from the record of the last cut-over alone. */
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { migrationSchema } from '#schemas/config/migration-schema.ts';
import { isComparisonDue, lastCutover, observedGate, type Reconciled } from '#schemas/migration/observed-time.ts';
import { signoffGates } from '#schemas/migration/signoff-gates.ts';

const HOUR = 3_600_000;
const since = '2026-11-20T10:00:00.000000Z';
const after = (hours: number): number => Date.parse(since) + hours * HOUR;

test('counted from the cut-over that the target still serves by', () => {
  const flip = (toState: string, at: string, event = 'finished'): { event: string; at: string; fromState: string; toState: string } => ({
    event,
    at,
    fromState: toState === 'observing' ? 'cutover-decided' : 'rollback-decided',
    toState,
  });
  const at = (...records: ReturnType<typeof flip>[]): string | undefined => lastCutover(records)?.at;
  expect(at()).toBeUndefined();
  expect(at(flip('observing', '1'))).toBe('1');
  // A drill and a comparison end nothing.
  expect(at(flip('observing', '1'), flip('observing', '2', 'backed-out'), flip('observing', '3', 'proved'))).toBe('1');
  expect(at(flip('observing', '1'), flip('following', '2'))).toBeUndefined();
  expect(at(flip('observing', '1'), flip('following', '2'), flip('observing', '3'))).toBe('3');
  expect(at(flip('observing', '1'), flip('following', '2', 'forced-found'))).toBeUndefined();
});

describe('the gate', () => {
  test('opens when the time is over, and not before', () => {
    expect(observedGate({ forMs: 24 * HOUR, since, nowMs: after(23) })).toEqual({
      gate: 'observed',
      isOpen: false,
      evidence: 'the target serves for 23 h, and the file asks for 1 d',
      remedy: 'Wait until 2026-11-21 10:00:00 UTC, or say why it is ended early: crossfade signoff --early "REASON".',
    });
    expect(observedGate({ forMs: 24 * HOUR, since, nowMs: after(24) }).isOpen).toBe(true);
    expect(observedGate({ forMs: 0, since, nowMs: after(0) }).isOpen).toBe(true);
    // A clock that is behind the target's.
    expect(observedGate({ forMs: HOUR, since, nowMs: after(-1) }).evidence).toContain('serves for 0 ms');
  });

  test('is opened early with a reason, which stands in its evidence', () => {
    const early = observedGate({ forMs: 24 * HOUR, since, nowMs: after(1), early: 'the source is switched off tonight' });
    expect([early.isOpen, early.evidence]).toEqual([
      true,
      'the target serves for 1 h, and the file asks for 1 d; ended early: the source is switched off tonight',
    ]);
  });

  test('is closed where it is not known since when, whatever the reason', () => {
    expect(observedGate({ forMs: 0, since: undefined, nowMs: after(0), early: 'now' }).isOpen).toBe(false);
  });

  test('stands among those of a sign-off only where the file asks for a time and the target is observed', () => {
    const evidence = { required: undefined, approvals: [], planHash: 'x', proof: { differences: 0, at: since }, nowMs: after(1) };
    const named = (state: 'observing' | 'following', forMs?: number): string[] =>
      signoffGates({ row: { state }, ...evidence, ...(forMs !== undefined && { observed: { forMs, since } }) }).map(
        ({ gate, isOpen }) => `${gate} ${isOpen}`,
      );
    expect(named('observing')).toEqual(['state true', 'verify true']);
    expect(named('observing', 2 * HOUR)).toEqual(['state true', 'observed false', 'verify true']);
    expect(named('following', 2 * HOUR)).toEqual(['state false', 'verify true']);
  });
});

test('a comparison is due when the last one, or the flip, is old enough', () => {
  const observing: NonNullable<Reconciled['row']> = { state: 'observing', act: undefined };
  const due = (hours: number, proof?: string, row = observing): boolean =>
    isComparisonDue({
      row,
      everyMs: 6 * HOUR,
      since,
      proof: proof === undefined ? undefined : { differences: 3, at: proof },
      nowMs: after(hours),
    });
  expect([due(5), due(6)]).toEqual([false, true]);
  const compared = new Date(after(4)).toISOString();
  expect([due(6, compared), due(10, compared)]).toEqual([false, true]);
  // Of before the flip it says nothing: it is not given at all (lastProof), and would not be newer.
  expect(due(5, '2026-11-01T00:00:00Z')).toBe(false);
  // Nobody watches any more, or somebody acts.
  const act = { kind: 'rollback' } as NonNullable<Reconciled['row']>['act'];
  for (const row of [
    { ...observing, state: 'signed-off' },
    { ...observing, state: 'following' },
    { ...observing, act },
  ] as const)
    expect(due(99, undefined, row)).toBe(false);
  expect(isComparisonDue({ row: undefined, everyMs: 0, since, proof: undefined, nowMs: after(99) })).toBe(false);
  expect(isComparisonDue({ row: observing, everyMs: 0, since: undefined, proof: undefined, nowMs: after(99) })).toBe(false);
});

describe('in the file', () => {
  const observe = (text: string): unknown => {
    const file = parse(
      `crossfade: 1\nname: shop\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\ntables: [{ from: public.a }]\nobserve: ${text}\n`,
    );
    const parsed = migrationSchema.safeParse(file);
    return parsed.success ? parsed.data.observe : parsed.error.issues[0]!.message;
  };

  test('a time, or a time and how often', () => {
    expect(observe('24h')).toEqual({ forMs: 24 * HOUR, everyMs: 6 * HOUR });
    expect(observe('{ for: 3d, every: 30min }')).toEqual({ forMs: 72 * HOUR, everyMs: HOUR / 2 });
    expect(observe('{ every: 30min }')).toBe('expected a time, for example 24h, or a block of for and every');
    expect(observe('soon')).toBe('expected a time, for example 24h, or a block of for and every');
  });
});
