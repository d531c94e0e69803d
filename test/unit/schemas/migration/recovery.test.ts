/** What recovery makes of journals that lack what they had: a side that was put back to an earlier moment decides nothing. */
import { describe, expect, test } from 'vitest';
import { isBereft, type Journals, mendingOf, recoveryOf, whoServes } from '#schemas/migration/recovery.ts';
import type { MigrationState } from '#schemas/migration/transitions.ts';

const row = (epoch: bigint, serves: 'source' | 'target'): Journals['source'][number] => ({ epoch, serves, isVoid: false });
const echo = (epoch: bigint, serves: 'source' | 'target'): Journals['source'][number] => ({ ...row(epoch, serves), isEcho: true });
const NONE: Journals = { source: [], target: [] };

const SERVED: readonly MigrationState[] = ['observing', 'cutover-decided'];

describe.each(SERVED)('the target serves (%s)', (state) => {
  const standing = { state, serves: 'target', epoch: 3n } as const;

  test('and the journal of the source is gone: nobody gives up what the target has taken', () => {
    expect(recoveryOf(standing, NONE)).toMatchObject({ do: 'halt' });
    expect(isBereft(standing, NONE)).toBe(true);
  });

  test('and the source was put back to before the second cut-over', () => {
    // Of a source that goes back further than this one everything is gone.
    const journals = { source: [], target: [row(2n, 'source')] };
    expect(recoveryOf(standing, journals)).toMatchObject({ do: 'halt' });
    expect(isBereft(standing, journals)).toBe(true);
    const later = { source: [row(1n, 'target')], target: [row(2n, 'source')] };
    expect(recoveryOf(standing, later)).toMatchObject({ do: 'halt' });
    expect(isBereft(standing, later)).toBe(true);
  });

  test('and a forced rollback has left its row on the source', () => {
    const journals = { source: [row(3n, 'target'), row(4n, 'source')], target: [] };
    expect(recoveryOf(standing, journals)).toEqual({ do: 'raise', side: 'target' });
    expect(isBereft(standing, journals)).toBe(false);
    const fenced = { ...journals, target: [row(5n, 'source')] };
    expect(recoveryOf(standing, fenced)).toEqual({ do: 'apply', event: 'forced-found' });
  });

  test('and the source has lost the decision, of which the target has the echo', () => {
    const journals = {
      source: [row(1n, 'target'), echo(2n, 'source')],
      target: [echo(1n, 'target'), row(2n, 'source'), echo(3n, 'target')],
    };
    expect([whoServes(journals), isBereft(standing, journals)]).toEqual(['target', false]);
    if (state === 'observing') {
      expect(recoveryOf(standing, journals)).toEqual({ do: 'nothing' });
      expect(mendingOf(standing, journals, { source: 'down', target: 'down' })).toEqual({ do: 'raise', side: 'source', isHole: false });
    } else expect(recoveryOf(standing, journals)).toEqual({ do: 'finish', lift: 'target', epoch: 3n });
  });

  test('and the target was put back to before a rollback, of which the source has the echo', () => {
    const journals = { source: [row(3n, 'target'), echo(5n, 'source')], target: [echo(3n, 'target')] };
    expect(recoveryOf(standing, journals)).toEqual({ do: 'raise', side: 'target' });
    const fenced = { ...journals, target: [row(6n, 'source')] };
    expect(recoveryOf(standing, fenced)).toEqual({ do: 'apply', event: 'forced-found' });
  });

  test('and the echo of an earlier rollback is not one that was forced', () => {
    const journals = { source: [row(1n, 'target'), echo(2n, 'source')], target: [echo(1n, 'target'), row(2n, 'source')] };
    expect(recoveryOf(standing, journals)).toMatchObject({ do: 'halt' });
    expect(isBereft(standing, journals)).toBe(true);
  });
});

test('a rollback that was not decided is not one that was forced', () => {
  const target = [{ epoch: 4n, serves: 'target', isVoid: true }] as const;
  expect(recoveryOf({ state: 'rolling-back', serves: 'target', epoch: 4n }, { source: [], target })).toMatchObject({ do: 'halt' });
});

test.each<[MigrationState, Journals, boolean]>([
  ['observing', { source: [row(3n, 'target')], target: [] }, false],
  // Decided a moment ago: the state follows.
  ['rolling-back', { source: [row(1n, 'target')], target: [row(3n, 'source')] }, false],
  ['signed-off', NONE, false],
  ['rollback-drill', NONE, true],
])('%s: whether its decision is missed', (state, journals, isMissed) => {
  expect(isBereft({ state, serves: 'target', epoch: 3n }, journals)).toBe(isMissed);
});

describe('a rollback that the target has decided and lost', () => {
  const standing = { state: 'rolling-back', serves: 'target', epoch: 4n } as const;
  const before = { source: [row(3n, 'target')], target: [echo(3n, 'target')] };
  const voided = { epoch: 4n, serves: 'target', isVoid: true } as const;

  test('before the source was opened: void on both sides, and then never opened', () => {
    expect(recoveryOf(standing, before)).toMatchObject({ do: 'settle', side: 'target', epoch: 4n });
    const half = { ...before, target: [...before.target, voided] };
    expect(recoveryOf(standing, half)).toMatchObject({ do: 'settle', side: 'source', epoch: 4n });
    expect(recoveryOf(standing, { ...half, source: [...half.source, voided] })).toEqual({ do: 'apply', event: 'backed-out' });
  });

  test('behind that: it is fenced again, and then called decided', () => {
    const opened = { ...before, source: [...before.source, echo(4n, 'source')] };
    expect(recoveryOf(standing, opened)).toEqual({ do: 'raise', side: 'target' });
    const raised = { ...opened, target: [...opened.target, voided, row(5n, 'source')] };
    expect(recoveryOf(standing, raised)).toEqual({ do: 'apply', event: 'decided' });
  });
});

test('at rest a fence that has a hole is raised anew, whichever side it is on', () => {
  const observing = { state: 'observing', serves: 'target', epoch: 1n } as const;
  const cut = { source: [row(1n, 'target')], target: [echo(1n, 'target')] };
  expect(mendingOf(observing, cut, { source: 'partly', target: 'down' })).toEqual({ do: 'raise', side: 'source', isHole: true });
  expect(mendingOf(observing, cut, { source: 'up', target: 'down' })).toEqual({ do: 'nothing' });
  expect(mendingOf(observing, cut, { source: 'down', target: 'down' })).toMatchObject({ do: 'halt' });
});
