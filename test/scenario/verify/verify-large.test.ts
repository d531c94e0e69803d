/** Tables of more than one large bucket: what differs is found through both levels of sums, and rows judged one by one are in neither. */
import { expect, test, vi } from 'vitest';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { play } from './played-pipeline.ts';

/** For a machine that does much else. */
vi.setConfig({ testTimeout: 180_000 });

const ROWS = 150_000;
const SQL = `
CREATE TABLE item (id int4 PRIMARY KEY, v text NOT NULL);
INSERT INTO item SELECT g, 'v' || g FROM generate_series(1, ${ROWS}) g;
CREATE TABLE log (id int4, v text);
ALTER TABLE log REPLICA IDENTITY FULL;
INSERT INTO log SELECT g % 100000, 'v' || g % 100000 FROM generate_series(1, ${ROWS}) g;
ANALYZE item; ANALYZE log`;

test('differences in large tables are found, all of them and no other, while changed rows wait for the target', async () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  await using pipeline = await play({ sourceSql: SQL });
  const rows = { rowsSource: ROWS, rowsTarget: ROWS };
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0, tables: [rows, rows] });
  const ids = [...new Set(Array.from({ length: 300 }, () => random.between(1, ROWS)))];
  const corrupt = ids.splice(0, 5);
  // Nobody follows: what the source changes is judged row by row.
  await pipeline.source.query('UPDATE item SET v = v || id WHERE id = ANY($1::int[])', [ids]);
  await pipeline.source.query(`INSERT INTO item SELECT -id, 'new' FROM item WHERE id = ANY($1::int[])`, [ids]);
  await pipeline.source.query(`DELETE FROM log WHERE id = ANY($1::int[])`, [ids]);
  expect(await pipeline.verify(), `seed ${seed}`).toMatchObject({ differences: 0, inconclusive: 0 });

  await pipeline.target.query(`UPDATE item SET v = 'corrupt' WHERE id = ANY($1::int[])`, [corrupt]);
  await pipeline.target.query(`INSERT INTO log VALUES (7, 'stray')`);
  const found = await pipeline.verify();
  const item = found.tables.find(({ to }) => to === 'public.item')!;
  expect(item, `seed ${seed}`).toMatchObject({ different: 5, missing: 0, extra: 0 });
  expect(found.tables.find(({ to }) => to === 'public.log')).toMatchObject({ extra: 1, missing: 0 });
  const named = item.sample.map(({ key, columns }) => `${key!['id']} ${columns.join(',')}`);
  expect(named.toSorted()).toEqual(corrupt.map((id) => `${id} v`).toSorted());
});

test('two large tables of which nothing agrees are counted whole', async () => {
  await using pipeline = await play({ sourceSql: SQL, tables: '  - from: public.item\n' });
  await pipeline.target.query('UPDATE item SET id = -id');
  const found = await pipeline.verify({ limits: { samples: 3 } });
  expect(found.tables[0]).toMatchObject({ missing: ROWS, extra: ROWS, different: 0 });
});
