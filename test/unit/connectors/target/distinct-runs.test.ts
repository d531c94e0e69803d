import { expect, test } from 'vitest';
import type { Work } from '#connectors/target/target.ts';
import { distinctRuns } from '#connectors/target/postgres/groups.ts';

function works(names: string): Work[] {
  const tables = new Map([...new Set(names)].map((name) => [name, { name }]));
  return Array.from(names, (name) => ({ kind: 'fold', table: tables.get(name) }) as unknown as Work);
}

function shown(names: string): string {
  return distinctRuns(works(names))
    .map((run) => run.map((work) => (work.table as unknown as { name: string }).name).join(''))
    .join(' ');
}

test('a round is cut where a table comes again, and nowhere else', () => {
  expect(shown('')).toBe('');
  expect(shown('abc')).toBe('abc');
  expect(shown('aba')).toBe('ab a');
  expect(shown('aabbc')).toBe('a ab bc');
});
