import { existsSync, readFileSync } from 'node:fs';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const LEGACY = `
CREATE TYPE mood AS ENUM ('ok', 'it''s bad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN inner_dom AS varchar(5) CHECK (VALUE <> '');
CREATE DOMAIN outer_dom AS inner_dom NOT NULL;
CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL, maybe text,
  CONSTRAINT code_key UNIQUE (code), UNIQUE (maybe), UNIQUE (id, code) DEFERRABLE, CHECK (id > 0));
CREATE UNIQUE INDEX partial ON parent (code) WHERE id > 5;
CREATE UNIQUE INDEX expression ON parent (lower(code));
CREATE UNIQUE INDEX covering ON parent (code, id) INCLUDE (maybe);
CREATE TABLE child ("Odd ""name" int REFERENCES parent, m mood DEFAULT 'ok', ms mood[], p pair, d outer_dom, n numeric(12,2)[], gone int,
  g int GENERATED ALWAYS AS (1 + 1) STORED, s serial, c text COLLATE "C", z char(3), i interval(3), ch "char", bi bit);
ALTER TABLE child DROP COLUMN gone, REPLICA IDENTITY FULL;
ALTER TABLE parent REPLICA IDENTITY USING INDEX code_key;
CREATE TABLE part (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_old PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY LIST (id);
CREATE TABLE part_old_1 PARTITION OF part_old FOR VALUES IN (1);
CREATE TABLE part_rest PARTITION OF part DEFAULT;
ALTER TABLE part_rest REPLICA IDENTITY FULL;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER usual BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION f();
CREATE TRIGGER always BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION f();
CREATE TRIGGER disabled BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION f();
ALTER TABLE parent ENABLE ALWAYS TRIGGER always, DISABLE TRIGGER disabled;
CREATE UNLOGGED TABLE fleeting (id int);
CREATE VIEW a_view AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW a_copy AS SELECT 1 AS x;
CREATE RULE a_rule AS ON DELETE TO child DO INSTEAD NOTHING;
CREATE TABLE heir () INHERITS (fleeting);
CREATE FOREIGN DATA WRAPPER w; CREATE SERVER srv FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE far (x int) SERVER srv;
CREATE SEQUENCE free START 7; SELECT nextval('free');
CREATE TEMP TABLE hidden (id int);
CREATE SCHEMA crossfade; CREATE TABLE crossfade.progress (id int);
SELECT lo_create(0);
`;

function tableOf(catalog: Catalog, name: string): CatalogTable {
  const table = catalog.tables.find((one) => one.name === name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table;
}

describe.each([14, 18] as const)('PostgreSQL %d', (version) => {
  test('its tables are read whole', async () => {
    const catalog = await catalogOf(LEGACY, version);
    expect(Math.floor(catalog.serverVersion / 10_000)).toBe(version);
    expect(catalog).toMatchObject({ database: 'postgres', encoding: 'UTF8', largeObjects: 1, schemas: ['public'] });
    expect(catalog.tables.map((table) => table.name)).toEqual(['child', 'fleeting', 'heir', 'parent', 'part']);

    const parent = tableOf(catalog, 'parent');
    expect(parent.primaryKey?.columns).toEqual(['id']);
    expect(parent.uniqueKeys.map((key) => [key.indexName, key.columns])).toEqual([
      ['code_key', ['code']],
      ['covering', ['code', 'id']],
    ]);
    expect(parent.nullableUniqueKeys?.map((key) => key.columns)).toEqual([['maybe']]);
    expect(parent).toMatchObject({ replicaIdentity: 'i', identityKey: { indexName: 'code_key' } });
    expect(parent.triggers).toEqual([
      { name: 'always', always: true },
      { name: 'usual', always: false },
    ]);
    expect(parent.checks).toEqual([{ name: 'parent_id_check', definition: 'CHECK ((id > 0))' }]);
    expect(parent.columns[0]).toMatchObject({ identity: 'a', notNull: true, ownsSequence: true });

    const child = tableOf(catalog, 'child');
    expect(child.replicaIdentity).toBe('f');
    expect(child.foreignKeys).toMatchObject([
      { columns: ['Odd "name'], toSchema: 'public', toTable: 'parent', toColumns: ['id'], deferrable: false },
    ]);
    expect(child.columns.map(({ name, type, baseType, typtype, builtin }) => [name, type, baseType, typtype, builtin])).toEqual([
      ['Odd "name', 'integer', 'integer', 'b', true],
      ['m', 'public.mood', 'public.mood', 'e', false],
      ['ms', 'public.mood[]', 'public.mood[]', 'b', false],
      ['p', 'public.pair', 'public.pair', 'c', false],
      ['d', 'public.outer_dom', 'public.outer_dom', 'd', false],
      ['n', 'numeric(12,2)[]', 'numeric[]', 'b', true],
      ['g', 'integer', 'integer', 'b', true],
      ['s', 'integer', 'integer', 'b', true],
      ['c', 'text', 'text', 'b', true],
      ['z', 'character(3)', 'bpchar', 'b', true],
      ['i', 'interval(3)', 'interval', 'b', true],
      ['ch', '"char"', '"char"', 'b', true],
      ['bi', 'bit(1)', '"bit"', 'b', true],
    ]);
    expect(child.columns[2]).toMatchObject({ typeName: 'mood', elementOid: child.columns[1]?.typeOid });
    expect(child.columns[4]?.domainBase).toMatchObject({
      type: 'character varying(5)',
      baseType: 'character varying',
      builtin: true,
      typeName: 'varchar',
    });
    expect(child.columns[6]).toMatchObject({ generated: 's', hasDefault: false, defaultSql: '(1 + 1)' });
    expect(child.columns[7]).toMatchObject({ hasDefault: true, ownsSequence: true });
    expect(child.columns[8]?.collation).toBe('pg_catalog."C"');
  });

  test('leaves are folded into their root, sub-partitions too', async () => {
    const part = tableOf(await catalogOf(LEGACY, version), 'part');
    expect(part).toMatchObject({ kind: 'p', partitionKey: 'RANGE (at)', primaryKey: { columns: ['id', 'at'] } });
    expect(part.leaves.map((leaf) => [leaf.name, leaf.replicaIdentity])).toEqual([
      ['part_old_1', 'd'],
      ['part_rest', 'f'],
    ]);
  });

  test('what cannot be replicated is listed', async () => {
    const catalog = await catalogOf(LEGACY, version);
    expect(catalog.oddities.map((one) => `${one.kind} ${one.name}`).toSorted()).toEqual([
      'foreign-table far',
      'inheritance heir',
      'materialized-view a_copy',
      'rule child.a_rule',
      'unlogged-table fleeting',
      'view a_view',
    ]);
    expect(catalog.sequences).toEqual([
      { schema: 'public', name: 'child_s_seq', owner: { schema: 'public', table: 'child', column: 's' } },
      { schema: 'public', name: 'free', lastValue: '7' },
      { schema: 'public', name: 'parent_id_seq', owner: { schema: 'public', table: 'parent', column: 'id' } },
    ]);
    expect(catalog.types.map((type) => [type.name, type.kind, type.labels, type.base])).toEqual([
      ['mood', 'e', ['ok', "it's bad"], undefined],
      ['pair', 'c', [], undefined],
      ['inner_dom', 'd', [], 'character varying(5)'],
      ['outer_dom', 'd', [], 'public.inner_dom'],
    ]);
  });

  test('a role without any privilege but LOGIN reads it, and a locked table does not make it wait', async () => {
    await using database = await freshDatabase(version);
    const owner = await connect(database.url, { applicationName: 'test', role: 'source' });
    const role = `reader_${database.name}_${version}`;
    await owner.query(`CREATE TABLE public.a (id int PRIMARY KEY); CREATE ROLE ${role} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC`);
    await owner.query('BEGIN; LOCK TABLE public.a IN ACCESS EXCLUSIVE MODE');
    const reader = await connect(database.server.url(database.name, role), {
      applicationName: 'test',
      role: 'source',
      settings: { lock_timeout: '2s' },
    });
    expect((await readCatalog(reader)).tables.map((table) => table.name)).toEqual(['a']);
    await reader.end();
    await owner.query(`ROLLBACK; DROP ROLE ${role}`);
    await owner.end();
  });
});

test('only the schemas asked for are read', async () => {
  await using database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  await client.query('CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.x (id int); CREATE TABLE b.x (id int); CREATE TYPE b.e AS ENUM ()');
  expect(await readCatalog(client, { schemas: ['a'] })).toMatchObject({ schemas: ['a'], tables: [{ schema: 'a' }], types: [] });
  await client.end();
});

test('the number of queries does not grow with the number of tables', async () => {
  await using database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  await client.query(
    `DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE public.t%s (id int PRIMARY KEY, v text)', i); END LOOP; END $$`,
  );
  let queries = 0;
  const query = async (sql: string, values: unknown[]): Promise<pg.QueryResult> => {
    queries++;
    return client.query(sql, values);
  };
  const counting = { query } as unknown as pg.ClientBase;
  const catalog = await readCatalog(counting);
  expect(catalog.tables).toHaveLength(1000);
  expect(catalog.tables.every((table) => table.columns.length === 2 && table.primaryKey !== undefined)).toBe(true);
  expect(queries).toBeLessThanOrEqual(10);
  await client.end();
});

const chinook = '../shared/data/chinook.sql';
test.skipIf(!existsSync(chinook))('Chinook fits itself on a newer server', async () => {
  const sql = readFileSync(chinook, 'utf8')
    .split('\n')
    .filter((line) => !/^(INSERT|DROP DATABASE|CREATE DATABASE|\\c)/i.test(line))
    .join('\n');
  const tables = sql.match(/CREATE TABLE[\s\S]*?;|ALTER TABLE[\s\S]*?;/g)?.join('\n') ?? '';
  const { mapping, findings } = compileMapping(fileOf('  - from: public.*\n'), await catalogOf(tables, 14), await catalogOf(tables, 18));
  expect(findings).toEqual([]);
  expect(mapping?.tables).toHaveLength(11);
});
