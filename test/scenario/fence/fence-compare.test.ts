/** The comparison at the fence: what changed since the full one is compared, named, and nothing is called equal that was not looked at. */
import { afterEach, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { fencedPipeline } from './fenced-pipeline.ts';
import { testFence } from './test-fence.ts';

afterEach(() => installTestHooks({}));

const SQL = `
CREATE TABLE account (id int4 PRIMARY KEY, owner text, balance numeric(12,2) NOT NULL);
CREATE TABLE tick (what text, n int4);
ALTER TABLE tick REPLICA IDENTITY FULL;
CREATE TABLE part (id int4, region int4, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
INSERT INTO account SELECT i, 'o' || i, i FROM generate_series(1, 500) i;
INSERT INTO part SELECT i, 1 + i % 2, 'v' FROM generate_series(1, 100) i;
INSERT INTO tick SELECT 't', i FROM generate_series(1, 20) i;`;

test.for([14, 18] as const)('from PostgreSQL %s: a touched key that differs is named, and nothing else', async (version) => {
  await using world = await fencedPipeline({ version, sourceSql: SQL });
  await using compare = await world.begin();
  expect(compare.before).toMatchObject({ differences: 0, inconclusive: 0 });
  await world.source.query(`UPDATE account SET balance = 7 WHERE id IN (3, 4, 5)`);
  await world.source.query(`UPDATE part SET region = 3 - region WHERE id = 9`);
  await world.source.query(`INSERT INTO tick VALUES ('new', 1)`);
  await using fence = await testFence(world);
  await world.target.query(`UPDATE account SET balance = 8 WHERE id = 4`);
  const found = await compare.finish(fence);
  const account = found.tables.find(({ to }) => to === 'public.account')!;
  expect(account).toMatchObject({ different: 1, missing: 0, extra: 0, keys: 3, rowsSource: 3, lsn: found.at.lsn });
  expect(account.sample).toEqual([{ key: { id: '4' }, kind: 'different', columns: ['balance'], sourceKey: ['4'] }]);
  expect(found).toMatchObject({ differences: 1, inconclusive: 0, keys: 5 });
});

test('a guard that is off lets the same difference pass', async () => {
  installTestHooks({ disabledGuards: ['fence-touched'] });
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin();
  await world.source.query(`UPDATE account SET balance = 7 WHERE id = 4`);
  await using fence = await testFence(world);
  await world.target.query(`UPDATE account SET balance = 8 WHERE id = 4`);
  expect(await compare.finish(fence)).toMatchObject({ differences: 0, inconclusive: 0 });
});
