/** What a rollback warns of: all that the source has nothing for, and nothing else. */
import { expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { keptOnTarget, tablesOfTargetAlone } from '#schemas/mapping/reverse/kept-on-target.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

test('columns and tables that were added on the target are named; what the file moves, leaves out or never sees is not', async () => {
  const source = await catalogOf('CREATE TABLE orders (id int PRIMARY KEY, cents int); CREATE TABLE drafts (id int PRIMARY KEY)');
  const target = await catalogOf(`CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY, total int, note text);
    CREATE TABLE sales.drafts (id int PRIMARY KEY); CREATE TABLE sales.refunds (id int PRIMARY KEY, orders int REFERENCES sales.orders) PARTITION BY RANGE (id);
    CREATE TABLE sales.refunds_1 PARTITION OF sales.refunds FOR VALUES FROM (0) TO (9); CREATE TABLE unrelated (id int PRIMARY KEY)`);
  const file = fileOf('  - { from: public.orders, to: sales.orders, columns: { cents: total } }\n');
  const { mapping } = compileMapping(file, source, target);
  expect(keptOnTarget(mapping!, deriveReverse(file, mapping!, { source, target }), target)).toEqual(['sales.orders.note']);
  expect(tablesOfTargetAlone(mapping!, { source, target })).toEqual(['sales.refunds']);
});
