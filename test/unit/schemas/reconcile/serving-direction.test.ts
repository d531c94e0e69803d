import { expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { CompiledMapping, RowFilter, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { servingDirection } from '#schemas/reconcile/serving-direction.ts';

const FILTER: RowFilter = { conditions: [{ column: 'state', op: 'not-in', values: ['gone'] }] };

function pair(from: string, to: string, filter?: RowFilter): TableMapping {
  return {
    from: { schema: 'public', name: from },
    to: { schema: 'app', name: to },
    columns: [],
    sourceKey: ['id'],
    targetKey: ['id'],
    overridesIdentity: false,
    existing: 'refuse',
    dropped: [],
    ...(filter && { filter }),
  };
}

const mappingOf = (...tables: TableMapping[]): CompiledMapping => ({ name: 'm', hash: '', tables });
const forward = { file: { name: 'm' } as MigrationFile, mapping: mappingOf(pair('orders', 'order', FILTER), pair('logs', 'log')) };
const turned = { ...pair('x', 'x'), from: { schema: 'app', name: 'order' }, to: { schema: 'public', name: 'orders' } };
const back = { file: { name: 'm_reverse' } as MigrationFile, mapping: mappingOf(turned) };

test('while the source serves it is compared as the file says', () => {
  const direction = servingDirection(forward, back, 'source');
  expect(direction).toMatchObject({ ...forward, left: [] });
  expect(direction!.targetRows(forward.mapping.tables[0]!)).toBe(undefined);
});

test('while the target serves: the way back, without what the way there leaves out, and what does not go back is named', () => {
  const direction = servingDirection(forward, back, 'target');
  expect(direction).toMatchObject({ ...back, left: ['public.logs'] });
  expect(direction!.targetRows(turned)).toBe(FILTER);
  expect(servingDirection(forward, undefined, 'target')).toBe(undefined);
});
