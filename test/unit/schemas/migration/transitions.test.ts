import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  actOf,
  BEGINNING,
  MIGRATION_EVENTS,
  MIGRATION_STATES,
  type MigrationEvent,
  REFUSALS,
  type Side,
  type Standing,
  step,
  TRANSITIONS,
} from '#schemas/migration/transitions.ts';

const after = (...events: MigrationEvent[]): Standing =>
  events.reduce<Standing>((standing, event) => {
    const result = step(standing, event);
    if (!result.ok) throw new Error(`${standing.state} refuses ${event}: ${result.refusal}`);
    return result.next;
  }, BEGINNING);

test('every state answers every event, with a state or a named refusal', () => {
  for (const state of MIGRATION_STATES) {
    expect(Object.keys(TRANSITIONS[state]).toSorted()).toEqual([...MIGRATION_EVENTS].toSorted());
    for (const answer of Object.values(TRANSITIONS[state])) {
      expect([...MIGRATION_STATES, ...Object.keys(REFUSALS).map((refusal) => `!${refusal}`)]).toContain(answer);
    }
  }
});

test('SPEC.md has the table as it is', () => {
  const spec = readFileSync(join(import.meta.dirname, '..', '..', '..', '..', 'schemas', 'migration', 'SPEC.md'), 'utf8');
  for (const state of MIGRATION_STATES) {
    const lawful = Object.entries(TRANSITIONS[state]).filter(([, answer]) => !answer.startsWith('!'));
    expect(spec).toContain(`| \`${state}\` | ${lawful.map(([event, answer]) => `${event} → ${answer}`).join(', ') || 'none'} |`);
  }
});

test('who serves changes by a decision only; each act has an epoch of its own; a refused event changes nothing', () => {
  for (const state of MIGRATION_STATES) {
    for (const serves of ['source', 'target'] as const satisfies readonly Side[]) {
      const standing: Standing = { state, serves, epoch: 7n };
      // A state in which the other side serves does not exist.
      const isReal =
        !['following', 'verified', 'aborted', 'cutover-drill', 'cutting-over', 'rollback-decided'].includes(state) ===
        (serves === 'target');
      for (const event of isReal || state === 'cleaned-up' ? MIGRATION_EVENTS : []) {
        const result = step(standing, event, 5n);
        if (!result.ok) continue;
        const begins = event.endsWith('-begun');
        expect(result.next.epoch, `${state} ${event}`).toBe(begins ? 8n : 7n);
        expect(actOf(result.next.state) !== undefined && actOf(state) === undefined, `${state} ${event}`).toBe(begins);
        if (event !== 'decided' && event !== 'forced-found') expect(result.next.serves, `${state} ${event}`).toBe(serves);
      }
    }
  }
});

test('there and back, and to the end', () => {
  expect(after('proved', 'cutover-begun', 'stepped', 'decided')).toEqual({ state: 'cutover-decided', serves: 'target', epoch: 1n });
  expect(after('cutover-begun', 'decided', 'decided', 'finished')).toEqual({ state: 'observing', serves: 'target', epoch: 1n });
  const back = after('cutover-begun', 'decided', 'finished', 'drill-begun', 'backed-out', 'rollback-begun', 'decided', 'finished');
  expect(back).toEqual({ state: 'following', serves: 'source', epoch: 3n });
  expect(after('cutover-begun', 'decided', 'finished', 'signed-off', 'cleaned-up')).toEqual({
    state: 'cleaned-up',
    serves: 'target',
    epoch: 1n,
  });
  expect(after('aborted', 'cleaned-up')).toEqual({ state: 'cleaned-up', serves: 'source', epoch: 0n });
  expect(step(after('cutover-begun'), 'cutover-begun')).toEqual({ ok: false, refusal: 'busy' });
  expect(step(after('cutover-begun', 'decided'), 'backed-out')).toEqual({ ok: false, refusal: 'decided' });
  expect(step(after('cutover-begun', 'decided', 'finished', 'signed-off'), 'rollback-begun')).toEqual({ ok: false, refusal: 'ended' });
  // An epoch that only the journals know is passed over.
  expect(step(BEGINNING, 'cutover-begun', 41n)).toMatchObject({ ok: true, next: { epoch: 42n } });
});
