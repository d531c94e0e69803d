/** What recovery makes of journals that lack what they had: a side that was put back to an earlier moment decides nothing. */
import { describe, expect, test } from 'vitest';
import { isBereft, type Journals, recoveryOf } from '#schemas/migration/recovery.ts';
import type { MigrationState } from '#schemas/migration/transitions.ts';

const row = (epoch: bigint, serves: 'source' | 'target'): Journals['source'][number] => ({ epoch, serves, isVoid: false });
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
    expect(recoveryOf(standing, journals)).toEqual({ do: 'apply', event: 'forced-found' });
    expect(isBereft(standing, journals)).toBe(false);
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
