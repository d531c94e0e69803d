import { expect, test } from 'vitest';
import { conflictOf, type FoundRow } from '#schemas/conflict.ts';

const EXPECTED = { isExpected: true, isNewer: true };
const OTHER = { isExpected: false, isNewer: false };
const NEWER = { isExpected: false, isNewer: true };

function of(policy: Parameters<typeof conflictOf>[0], row: FoundRow['row'], more: Partial<FoundRow> = {}): string | undefined {
  return conflictOf(policy, { row, deletes: false, isNew: false, mayLack: false, ...more });
}

test('what the changes found or left is no conflict, nor is a row that is gone and was to go', () => {
  for (const policy of ['source-wins', 'target-wins', { version: 'v' }] as const) {
    expect(of(policy, EXPECTED)).toBeUndefined();
    expect(of(policy, EXPECTED, { deletes: true })).toBeUndefined();
    expect(of(policy, undefined, { isNew: true, mayLack: true })).toBeUndefined();
    expect(of(policy, undefined, { deletes: true })).toBeUndefined();
  }
});

test('the kind says what was found, the policy who wins', () => {
  const cases: readonly (readonly [FoundRow['row'], Partial<FoundRow>, kind: string])[] = [
    [OTHER, {}, 'update'],
    [OTHER, { isNew: true, mayLack: true }, 'insert'],
    [OTHER, { deletes: true, isNew: true, mayLack: true }, 'delete'],
    [undefined, {}, 'missing'],
  ];
  for (const [row, more, kind] of cases) {
    expect(of('source-wins', row, more)).toBe(`${kind}/source`);
    expect(of('target-wins', row, more)).toBe(`${kind}/target`);
    expect(of({ version: 'v' }, row, more)).toBe(`${kind}/source`);
    if (row !== undefined) expect(of({ version: 'v' }, NEWER, more)).toBe(`${kind}/target`);
  }
});
