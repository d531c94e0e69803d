/** One wave at a time, and what belongs to no unit last. */
import { expect, test } from 'vitest';
import { SHARED_WAVE } from '#schemas/config/wave-name.ts';
import { judgeWaves, type OtherWave } from '#services/control/gates/waves-gate.ts';

const WAVE = { name: 'globex', observationMs: 60_000 };
const CUTOVER = { kind: 'cutover', drill: false } as const;

function other(wave: string, changes: Partial<OtherWave & { act: { kind: string; by: string } }> = {}): OtherWave {
  const { act, ...rest } = changes;
  const row = { state: 'observing', serves: 'target', act } as unknown as OtherWave['row'];
  return { wave, row, observedMs: 90_000, isStopped: false, ...rest };
}

const still = (wave: string): OtherWave => ({ wave, row: undefined, observedMs: undefined, isStopped: false });

test('another one in flight closes the gate, to a drill too', () => {
  const busy = other('acme', { act: { kind: 'rollback', by: 'Ada' } });
  for (const at of [CUTOVER, { ...CUTOVER, drill: true }])
    expect(judgeWaves(WAVE, [other('initech'), busy], at)).toMatchObject({
      closed: { code: 'CF-8335' },
      evidence: 'in flight: acme (rollback, by Ada)',
    });
});

test('one that is not observed for long enough closes it, but not to a drill', () => {
  const fresh = [other('acme', { observedMs: 59_000 })];
  expect(judgeWaves(WAVE, fresh, CUTOVER)).toMatchObject({
    closed: { code: 'CF-8335' },
    evidence: 'still observed: acme (for 59 s); waves.observation says 60 s',
  });
  expect(judgeWaves(WAVE, fresh, { ...CUTOVER, drill: true })).toEqual({ evidence: 'no other wave is in flight' });
});

test('what belongs to no unit waits for everybody else', () => {
  const shared = { ...WAVE, name: SHARED_WAVE };
  expect(judgeWaves(shared, [other('acme'), still('globex')], CUTOVER)).toMatchObject({
    closed: { code: 'CF-8335' },
    evidence: 'what belongs to no unit moves last: globex still on the source',
  });
  expect(judgeWaves(shared, [other('acme')], CUTOVER)).not.toHaveProperty('closed');
});

test('one whose pipeline stands still, and may have changes of moved rows left, closes it', () => {
  expect(judgeWaves(WAVE, [other('acme', { isStopped: true })], CUTOVER)).toMatchObject({ closed: { code: 'CF-8335' } });
});

test('else it is open, and a rollback waits for nobody', () => {
  expect(judgeWaves(WAVE, [other('acme'), still('initech')], CUTOVER)).toEqual({
    evidence: 'no other wave is in flight or newly cut over; on the target: acme',
  });
  const busy = other('acme', { act: { kind: 'cutover', by: 'Ada' }, observedMs: 0 });
  expect(judgeWaves(WAVE, [busy], { kind: 'rollback', drill: false })).toMatchObject({ isSkipped: true });
});
