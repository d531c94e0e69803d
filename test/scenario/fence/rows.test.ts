/** A fence of some rows, for a wave: on partitions, inheriting tables, rows without a unit, and against triggers of the application's own. */
import { expect, test } from 'vitest';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { readRemnants } from '#connectors/remnants/postgres/read-remnants.ts';
import { removeRemnant } from '#connectors/remnants/postgres/remove-remnant.ts';
import type { RowFilter } from '#schemas/mapping/compiled-mapping.ts';
import { execute } from '#test/support/application.ts';
import { fenceWorld, outcomeOf, raiseFence } from '#test/support/fence-world.ts';

const TABLES = `
  CREATE TABLE shop.note (id int, tenant text, PRIMARY KEY (id));
  CREATE TABLE shop.old_note (PRIMARY KEY (id)) INHERITS (shop.note);
  CREATE TABLE shop.visit (id int, tenant text, day int) PARTITION BY RANGE (day);
  CREATE TABLE shop.visit_1 PARTITION OF shop.visit FOR VALUES FROM (0) TO (10);
  CREATE TABLE shop.mark (id int, tenant text);
  CREATE FUNCTION shop.of_acme() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id > 100 THEN NEW.tenant := 'acme'; END IF; RETURN NEW; END $$;
  CREATE TRIGGER zz_of_acme BEFORE INSERT ON shop.mark FOR EACH ROW EXECUTE FUNCTION shop.of_acme();
  INSERT INTO shop.note VALUES (1, 'acme'), (2, 'globex'), (3, NULL);
  INSERT INTO shop.old_note VALUES (11, 'acme'), (12, 'globex');
  INSERT INTO shop.visit VALUES (1, 'acme', 1), (2, 'globex', 1), (3, NULL, 1)`;

const REFUSED = [
  `INSERT INTO shop.note VALUES (4, 'acme')`,
  `UPDATE shop.note SET tenant = 'globex' WHERE id = 1`,
  `UPDATE shop.note SET tenant = 'acme' WHERE id = 3`,
  `UPDATE shop.note SET id = id + 1000 WHERE id > 10`,
  `DELETE FROM shop.old_note WHERE id = 11`,
  `INSERT INTO shop.note VALUES (1, 'acme') ON CONFLICT DO NOTHING`,
  `UPDATE shop.visit SET day = 11 WHERE tenant = 'acme'`,
  `DELETE FROM shop.visit_1 WHERE id = 1`,
  `INSERT INTO shop.visit VALUES (4, 'acme', 12)`,
  `INSERT INTO shop.mark VALUES (101, 'globex')`,
  `TRUNCATE shop.visit_1`,
  `TRUNCATE shop.mark`,
  `SET session_replication_role = replica; INSERT INTO shop.note VALUES (5, 'acme')`,
];

const TAKEN = [
  `INSERT INTO shop.note VALUES (6, 'globex'), (7, NULL)`,
  `UPDATE shop.note SET tenant = 'initech' WHERE id IN (3, 6)`,
  `DELETE FROM shop.note WHERE tenant = 'globex'`,
  `UPDATE shop.visit SET day = 11 WHERE tenant IS NULL OR tenant = 'globex'`,
  `INSERT INTO shop.mark VALUES (1, 'globex')`,
  `UPDATE shop.note SET tenant = 'acme' WHERE id = 4711`,
  `SET crossfade.pipeline = 'shop_globex'; UPDATE shop.note SET tenant = 'globex' WHERE id = 1`,
];

test('only writers of these rows are refused, whichever way a row comes or goes', async () => {
  const rows: RowFilter = { conditions: [{ column: 'tenant', op: 'in', values: ['acme'] }] };
  const tables = ['note', 'visit', 'mark'].map((name) => ({ schema: 'shop', name, rows }));
  await using world = await fenceWorld(14, { tables, name: 'shop_acme', exempt: ['shop_globex'] });
  await execute(world.ownerUrl, TABLES);
  await raiseFence(world.options, 1n);
  await execute(world.ownerUrl, 'CREATE TABLE shop.visit_2 PARTITION OF shop.visit FOR VALUES FROM (10) TO (20)');
  expect(await postgresFences.state(world.options)).toMatchObject({ state: 'partly' });
  const outcomes = await Promise.all(REFUSED.map(async (sql) => outcomeOf(execute(world.url, sql))));
  expect(REFUSED.filter((_, i) => outcomes[i] !== '25006')).toEqual([]);
  for (const sql of TAKEN) expect([sql, await outcomeOf(execute(world.url, sql))]).toEqual([sql, 'ok']);
  expect(await postgresFences.lift(world.options, 1n)).toBe(true);
  await postgresFences.drop(world.options);
  expect(await postgresFences.state(world.options)).toMatchObject({ state: 'none' });
  // The clean-up finds them by their names.
  await raiseFence(world.options, 2n);
  const place = { url: world.ownerUrl, name: 'shop_acme', side: 'source', place: 'source' } as const;
  const left = (await readRemnants(place)).filter(({ kind }) => kind === 'trigger');
  for (const one of left) await removeRemnant(place, one);
  expect(await postgresFences.state(world.options)).toMatchObject({ state: 'none' });
  await execute(world.ownerUrl, `TRUNCATE shop.visit; INSERT INTO shop.note VALUES (8, 'acme')`);
});

const MOVES = [
  `UPDATE shop.note SET tenant = 'globex' WHERE id = 1`,
  `UPDATE shop.note SET tenant = 'acme' WHERE id IN (2, 3)`,
  `UPDATE shop.old_note SET tenant = NULL WHERE id = 11`,
  `UPDATE shop.visit SET tenant = 'globex' WHERE tenant = 'acme'`,
  `UPDATE shop.visit SET tenant = 'acme' WHERE id = 3`,
];
const STAYS = [
  `UPDATE shop.note SET id = id + 100`,
  `UPDATE shop.note SET tenant = 'initech' WHERE tenant = 'globex'`,
  `UPDATE shop.mark SET tenant = 'acme'`,
  `DELETE FROM shop.note WHERE tenant = 'acme'; INSERT INTO shop.note VALUES (1, 'globex')`,
  `SET crossfade.pipeline = 'shop_globex'; UPDATE shop.visit SET tenant = 'globex' WHERE tenant = 'acme'`,
];

test('without a fence, too, no row changes its unit where units are kept', async () => {
  const rows: RowFilter = { conditions: [{ column: 'tenant', op: 'in', values: ['acme'] }] };
  const tables = ['note', 'visit', 'mark'].map((name) => ({ schema: 'shop', name, rows, keepsUnits: name !== 'mark' }));
  await using world = await fenceWorld(14, { tables, name: 'shop_acme', exempt: ['shop_globex'] });
  await execute(world.ownerUrl, TABLES, `INSERT INTO shop.mark VALUES (1, 'globex')`);
  for (let times = 0; times < 2; times++) await postgresFences.prepare(world.options);
  expect(await postgresFences.state(world.options)).toMatchObject({ state: 'down' });
  for (const sql of MOVES) expect([sql, await outcomeOf(execute(world.url, sql))]).toEqual([sql, '23514']);
  for (const sql of STAYS) expect([sql, await outcomeOf(execute(world.url, sql))]).toEqual([sql, 'ok']);
  // Neither raised nor lifted with the fence.
  await raiseFence(world.options, 1n);
  expect(await postgresFences.lift(world.options, 1n)).toBe(true);
  await execute(world.url, `INSERT INTO shop.note VALUES (51, 'acme')`);
  expect(await outcomeOf(execute(world.url, `UPDATE shop.note SET tenant = NULL WHERE id = 51`))).toBe('23514');
  const triggers = `SELECT tgname FROM pg_trigger WHERE tgname LIKE 'crossfade%'`;
  await postgresFences.drop(world.options);
  expect(await world.query(triggers)).toEqual([]);
  await execute(world.url, `UPDATE shop.note SET tenant = 'globex' WHERE id = 51`);
  // The clean-up finds the guards by their names, too.
  await postgresFences.prepare(world.options);
  const place = { url: world.ownerUrl, name: 'shop_acme', side: 'source', place: 'source' } as const;
  for (const one of await readRemnants(place)) if (one.kind === 'trigger') await removeRemnant(place, one);
  expect(await world.query(triggers)).toEqual([]);
});
