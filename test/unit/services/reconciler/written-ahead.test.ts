import { afterEach, expect, test } from 'vitest';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import type { DifferenceSample, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { toLsn } from '#schemas/lsn.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { FenceTable } from '#services/reconciler/fence/fence-table.ts';
import { inBoth, Looks, mayBeAhead } from '#services/reconciler/written-ahead.ts';

function verdict(sample: readonly DifferenceSample[], more: Partial<TableVerdict> = {}): TableVerdict {
  const count = (kind: DifferenceSample['kind']): number => sample.filter((one) => one.kind === kind).length;
  const counts = { missing: count('missing'), extra: count('extra'), different: count('different') };
  return { from: 'public.a', to: 'public.a', rowsSource: 9, rowsTarget: 9, ...counts, sample, lsn: '0/1', ...more };
}

const at = (id: number, kind: DifferenceSample['kind'] = 'different'): DifferenceSample => ({ key: { id: String(id) }, kind, columns: [] });

test('what differs only once is ahead, what differs again is different, as it now is', () => {
  const now = inBoth(verdict([at(1), at(2), at(3, 'missing')]), verdict([at(2), at(3, 'extra'), at(4)], { lsn: '0/2' }));
  expect(now).toEqual(verdict([at(2), at(3, 'extra')], { lsn: '0/2', unsettled: [at(4)] }));
  const ranges = [{ rows: 9, differences: 1 }] as unknown as NonNullable<TableVerdict['ranges']>;
  expect(inBoth(verdict([at(1)]), verdict([at(2)], { ranges }))).toEqual(
    verdict([], { ranges: [{ rows: 9, differences: 0 }] as never, unsettled: [at(2)] }),
  );
});

test('what may be ahead is looked at again at the fence', () => {
  const table = new FenceTable({ mapping: {} } as unknown as TableProbe, { source: {}, target: {} } as never, 10);
  const keyed = (id: number): DifferenceSample => ({ ...at(id), sourceKey: [String(id)] });
  for (const id of [1, 2]) table.touches.touch(JSON.stringify([String(id)]), { xid: id, lsn: toLsn(5n) });
  table.comparedWhole(inBoth(verdict([keyed(1)]), verdict([keyed(2), keyed(3)])), toLsn(9n));
  expect([[...table.touches.keys.keys()], table.touches.whole]).toEqual([['["2"]', '["3"]'], undefined]);
  table.comparedWhole(inBoth(verdict([at(1)]), verdict([at(2)])), toLsn(10n));
  expect(table.touches.whole).toBeDefined();
});

test('a comparison that names not all, or says nothing, takes nothing away', () => {
  const after = verdict([at(2)]);
  expect(inBoth(undefined, after)).toBe(after);
  expect(inBoth(verdict([at(1)], { different: 5_000 }), after)).toBe(after);
  expect(inBoth(verdict([], { inconclusive: { cause: 'lag', message: '' } }), after)).toBe(after);
  const many = verdict([at(1)], { different: 5_000 });
  expect(inBoth(verdict([at(2)]), many)).toBe(many);
});

test('a comparison that says nothing takes nothing from those before it, and one alone accuses nobody', () => {
  const nothing = verdict([], { inconclusive: { cause: 'changed', message: '' } });
  const between = new Looks();
  between.add(verdict([at(1), at(2)]));
  expect(between.add(nothing)).toBe(nothing);
  expect(between.add(verdict([at(2), at(3)], { lsn: '0/3' }))).toEqual(verdict([at(2)], { lsn: '0/3', unsettled: [at(3)] }));
  expect(between.isSingle).toBe(false);
  const alone = new Looks();
  for (const one of [nothing, nothing, verdict([at(1)])]) alone.add(one);
  expect(alone.isSingle).toBe(true);
  // Of a running instance each comparison is one: its book waits for the next.
  const only = new Looks();
  only.add(verdict([at(1)]));
  expect(only.isSingle).toBe(false);
});

afterEach(() => installTestHooks({}));

test('only a table with a policy is compared again, and only where something differs', () => {
  const probe = { mapping: { conflict: 'source-wins' } } as unknown as TableProbe;
  expect(mayBeAhead(probe, verdict([at(1)]))).toBe(true);
  expect(mayBeAhead(probe, verdict([]))).toBe(false);
  expect(mayBeAhead(probe, undefined)).toBe(false);
  expect(mayBeAhead({ mapping: {} } as unknown as TableProbe, verdict([at(1)]))).toBe(false);
  installTestHooks({ disabledGuards: ['written-ahead'] });
  expect(mayBeAhead(probe, verdict([at(1)]))).toBe(false);
});
