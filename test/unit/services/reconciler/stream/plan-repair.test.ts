import { expect, test } from 'vitest';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DifferenceSample, TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { planRepair } from '#services/reconciler/plan-repair.ts';
import { repairMigration } from '#services/reconciler/repair.ts';
import { silentLogger } from '#services/runtime/service.ts';

function mapped(name: string, key: readonly string[]): TableMapping {
  const table = { schema: 'public', name };
  return { from: table, to: table, columns: [], sourceKey: key, targetKey: key, overridesIdentity: false, existing: 'refuse', dropped: [] };
}

function verdict(
  name: string,
  counts: Partial<Pick<TableVerdict, 'missing' | 'extra' | 'different'>>,
  sample: readonly DifferenceSample[],
): TableVerdict {
  return {
    from: `public.${name}`,
    to: `public.${name}`,
    rowsSource: 0,
    rowsTarget: 0,
    missing: 0,
    extra: 0,
    different: 0,
    ...counts,
    sample,
    lsn: '0/1',
  };
}

function resultOf(...tables: readonly TableVerdict[]): VerifyResult {
  return {
    at: { lsn: '0/1' },
    tables,
    differences: tables.reduce((sum, one) => sum + one.missing + one.extra + one.different, 0),
    inconclusive: 0,
  };
}

const missing = (id: string): DifferenceSample => ({ key: { id }, kind: 'missing', columns: [], sourceKey: [id] });
const mapping: CompiledMapping = { name: 'm', hash: '', tables: [mapped('keyed', ['id']), mapped('bag', []), mapped('clean', ['id'])] };

test('rows that are all named with their source key are copied again by key', () => {
  expect(planRepair(resultOf(verdict('keyed', { missing: 2 }, [missing('1'), missing('2')]), verdict('clean', {}, [])), mapping)).toEqual([
    { kind: 'keys', schema: 'public', table: 'keyed', keys: [['1'], ['2']], reason: 'verify found 2 missing, 0 extra, 0 different rows' },
  ]);
});

test('a table is copied whole when it has no key or when not every row is named, and emptied first when no key of the source names a row', () => {
  const unknown: DifferenceSample = { key: { id: '9' }, kind: 'extra', columns: [] };
  const kinds = (table: TableVerdict): string[] => planRepair(resultOf(table), mapping).map(({ kind }) => kind);
  expect(
    kinds(
      verdict('bag', { missing: 1, extra: 1 }, [
        { key: null, kind: 'missing', columns: [] },
        { key: null, kind: 'extra', columns: [] },
      ]),
    ),
  ).toEqual(['table']);
  expect(kinds(verdict('keyed', { missing: 3 }, [missing('1'), missing('2')]))).toEqual(['table']);
  expect(kinds(verdict('keyed', { missing: 1, extra: 1 }, [missing('1'), unknown]))).toEqual(['replace']);
});

test('behind the copy of a table the rows that are named are asked for, however many there are besides', () => {
  const extra = (id: string): DifferenceSample => ({ key: { id }, kind: 'extra', columns: [], sourceKey: [id] });
  const result = resultOf(verdict('keyed', { extra: 1_500 }, [extra('1'), extra('2')]), verdict('bag', { extra: 1 }, []));
  expect(planRepair(result, mapping, { areCopied: true }).map((one) => (one.kind === 'keys' ? one.keys : one.kind))).toEqual([
    [['1'], ['2']],
    'table',
  ]);
});

test('more keys than one record takes come in several requests', () => {
  const many = Array.from({ length: 25_000 }, (_, i) => missing(String(i)));
  const requests = planRepair(resultOf(verdict('keyed', { missing: many.length }, many)), mapping);
  expect(requests.map((one) => (one.kind === 'keys' ? one.keys.length : one.kind))).toEqual([10_000, 10_000, 5_000]);
});

test('repair asks for all, waits for a marker behind the copy, and verifies those tables only', async () => {
  const steps: unknown[] = [];
  const requests: RecopyRequest[] = [{ kind: 'table', schema: 'public', table: 'bag', reason: 'r' }];
  const instance = {
    recopy: async (request: RecopyRequest): Promise<void> => void steps.push(request),
    marker: async (request: unknown): Promise<{ applied: boolean }> => {
      steps.push(request);
      return { applied: true };
    },
  };
  const verified = resultOf(verdict('bag', {}, []));
  const verify = async (tables: (table: TableMapping) => boolean): Promise<VerifyResult> => {
    steps.push(mapping.tables.filter(tables).map((table) => table.from.name));
    return verified;
  };
  expect(await repairMigration({ requests, instance, verify, logger: silentLogger, waitMs: 5 })).toEqual({ requests, verified });
  expect(steps).toEqual([...requests, { waitMs: 5, afterCopy: true }, ['bag']]);
  const slow = { ...instance, marker: async (): Promise<{ applied: boolean }> => ({ applied: false }) };
  await expect(repairMigration({ requests, instance: slow, verify, logger: silentLogger })).rejects.toMatchObject({ code: 'CF-6003' });
});
