import { expect, test } from 'vitest';
import type { DifferenceSample, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { repairExtent } from '#services/reconciler/repair-extent.ts';

const one = (kind: DifferenceSample['kind'], id: string): DifferenceSample => ({ key: { id }, kind, columns: [], sourceKey: [id] });

function verdict(more: Partial<TableVerdict> = {}): TableVerdict {
  const counts = { rowsSource: 100, rowsTarget: 120, missing: 1, extra: 2, different: 0 };
  const sample = [one('missing', '1'), one('extra', '2'), one('extra', '3')];
  return { from: 'public.a', to: 'public.b', ...counts, sample, lsn: '0/1', ...more };
}

const base = { schema: 'public', table: 'a', reason: 'test' };
const keys = (...ids: readonly string[]): RecopyRequest => ({ kind: 'keys', ...base, keys: ids.map((id) => [id]) });

function extent(request: RecopyRequest, tables = [verdict()], rangeRows?: number): readonly [number, number] {
  const { rows, deletes } = repairExtent([request], tables, new Map(rangeRows === undefined ? [] : [[request, rangeRows]]));
  return [rows, deletes];
}

test('keys: those that only the target has are deleted, and no others', () => {
  expect(extent(keys('1', '2'))).toEqual([2, 1]);
  expect(extent(keys('1', '9'))).toEqual([2, 0]);
});

test('where not every row is named, all that were counted may be among the keys', () => {
  expect(extent(keys('1', '9'), [verdict({ sample: [one('missing', '1')] })])).toEqual([2, 2]);
  expect(extent(keys('1'), [verdict({ extra: 50 })])).toEqual([1, 1]);
  const { sourceKey: _unknown, ...unnamed } = one('extra', '3');
  expect(extent(keys('1', '9'), [verdict({ sample: [one('missing', '1'), one('extra', '2'), unnamed] })])).toEqual([2, 2]);
});

test('a table, a range, a replacement; several targets of one table', () => {
  expect(extent({ kind: 'table', ...base })).toEqual([100, 2]);
  expect(extent({ kind: 'range', ...base, from: '1', to: '9' }, [verdict()], 7)).toEqual([7, 2]);
  expect(extent({ kind: 'replace', ...base })).toEqual([100, 120]);
  expect(extent(keys('1', '2'), [verdict(), verdict({ to: 'public.c' })])).toEqual([4, 2]);
  expect(extent({ kind: 'table', ...base, table: 'other' })).toEqual([0, 0]);
});
