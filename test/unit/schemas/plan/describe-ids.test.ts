import { expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { resolveTables } from '#schemas/mapping/resolve-tables.ts';
import { typeWorld } from '#schemas/mapping/type-fit.ts';
import { describeColumns } from '#schemas/plan/describe-column.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

test('the plan says which columns become ids, of whom, and why', async () => {
  const file = fileOf(
    `  - { from: public.a, key: { surrogate: id }, columns: { k: legacy } }\n  - { from: public.b, refs: { c: public.a } }\n`,
  );
  const source = await catalogOf('CREATE TABLE a (k int PRIMARY KEY); CREATE TABLE b (n int PRIMARY KEY, a int REFERENCES a, c int)');
  const target = await catalogOf(
    'CREATE TABLE a (id bigserial PRIMARY KEY, legacy int); CREATE TABLE b (n int PRIMARY KEY, a bigint, c bigint)',
  );
  const { mapping } = compileMapping(file, source, target);
  const resolved = resolveTables(file, source, target, new FindingList(file.path));
  const described = mapping!.tables.map((table, i) =>
    describeColumns({ table, resolved: resolved[i]!, world: typeWorld(source, target) }).map((column) => [
      column.target,
      column.conversion,
      column.lossy,
    ]),
  );
  expect(described).toEqual([
    [
      ['id', ['renamed', 'becomes an id that the target gives; crossfade.key_map keeps which'], []],
      ['legacy', ['copied'], []],
    ],
    [
      ['n', ['as it is'], []],
      ['a', ['becomes the id of the public.a that it names, as a foreign key says'], []],
      ['c', ['becomes the id of the public.a that it names, as the file says'], []],
    ],
  ]);
});
