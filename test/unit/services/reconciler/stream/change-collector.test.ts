import { expect, test } from 'vitest';
import { ChangeCollector, type CollectedTable } from '#services/reconciler/change-collector.ts';
import { begin, insert, relation } from '#test/support/frames.ts';

test('a change is taken once for each target of its table, also where the table is its own leaf', () => {
  const from = { schema: 'public', name: 'a' };
  const collected = (relations: readonly number[]): CollectedTable => ({
    relations,
    sourceColumns: ['id'],
    from,
    changes: { ahead: [], behind: [] },
  });
  const tables = [collected([7, 7]), collected([7, 7])];
  const collector = new ChangeCollector(tables, () => 'behind', { changesPerTable: 10, bytes: 1_000 });
  const shape = relation({ oid: 7, ...from, identity: 'd', columns: [{ name: 'id', key: true }] });
  for (const frame of [begin(1n), shape, insert(7, ['1'])]) collector.feed(frame);
  expect(tables.map(({ changes }) => changes.behind.length)).toEqual([1, 1]);
});
