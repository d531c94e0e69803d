/** Types and casts: equal values are never called different, in the tables and in the stream, and one changed value names its column. */
import { expect, test } from 'vitest';
import { freshDatabase } from '#test/support/postgres.ts';
import { play } from './played-pipeline.ts';

const TYPES = `
CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION ltree SCHEMA public;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (x int, y text); CREATE DOMAIN email AS text CHECK (value LIKE '%@%');
CREATE TABLE sample (
  id uuid PRIMARY KEY, i2 int2, i4 int4, i8 int8, n numeric, n2 numeric(12,2), f4 float4, f8 float8, b bool, t text, v varchar(20), c char(6), by bytea,
  d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval, js json, jb jsonb, x xml, ip inet, ci cidr, mac macaddr, bits bit(4), vb varbit,
  ints int4[], texts text[], nums numeric[], r int4range, mr int4multirange, p point, tv tsvector, o oid, m money, md mood, pr pair, em email, hs hstore, ct citext, lt ltree, mds mood[]);`;

const SOURCE_ROWS = `
INSERT INTO sample VALUES
 ('00000000-0000-0000-0000-000000000001', -32768, 2147483647, 9223372036854775807, 'NaN', 1.5, '-0', 'NaN', true, '', 'ß😀', 'ab', '\\x00ff',
  '0044-03-15 BC', '24:00:00', '12:00:00.000001+05:30', 'infinity', '-infinity', '1 year -2 mons 3 days 04:05:06.7', '{"b":1, "a":  [1.10]}', '{"b": 1, "a": 1e3}',
  '<a b="1">t</a>', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', B'1010', B'1', '{1,NULL,3}', '{"",NULL,"NULL","a,b"}', '{1.10,2.0}', '[1,5)', '{[1,3),[5,8)}',
  '(1.5,-0)', 'a:1 b:2', 4294967295, '-1234.56', 'happy', '(1,"a,b")', 'a@b', '"k"=>"v", "n"=>NULL', 'MiXed', 'Top.Sub', '{sad,happy}'),
 ('00000000-0000-0000-0000-000000000002', NULL, NULL, NULL, '1e-20', NULL, '1e6', 1e6, false, E'a\\tb\\\\n\\n"', '', '', '',
  '294276-01-01', '00:00', '00:00+00', '4713-01-01 BC', '294276-12-31 23:59:59.999999+00', '0', 'null', 'null', NULL, '::1/64', NULL, NULL, NULL, '',
  '{}', '{{a,b},{c,d}}', '{}', 'empty', '{}', NULL, '', 0, NULL, NULL, '(,)', NULL, '', '', '', '{}');
INSERT INTO sample (id) VALUES ('00000000-0000-0000-0000-000000000003');`;

test('every type passes as equal, from the tables and from the stream', async () => {
  await using pipeline = await play({
    sourceSql: TYPES,
    targetSql: TYPES.replace('n2 numeric(12,2)', 'n2 numeric(14,4)').replace('i4 int4,', 'i4 int8,').replace('v varchar(20)', 'v text'),
  });
  await pipeline.source.query(SOURCE_ROWS);
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0, tables: [{ rowsSource: 3 }] });
  await pipeline.stopFollowing();
  // Now the rows are compared through the stream's texts.
  await pipeline.source.query(
    `UPDATE sample SET i2 = 5, n2 = 7.25, t = 'changed', md = 'ok' WHERE id < '00000000-0000-0000-0000-000000000003'`,
  );
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  const changes: Readonly<Record<string, string>> = {
    i8: '0',
    n: '0',
    n2: '7.2501',
    f8: `'-Infinity'`,
    b: 'NULL',
    t: `'Changed'`,
    c: `'b'`,
    by: `'\\x00fe'`,
    tz: `'12:00:00+00'`,
    tstz: `'infinity'`,
    iv: `'1 s'`,
    js: `'{"b":1, "a": [1.10]}'`,
    texts: `'{"",NULL,NULL,"a,b"}'`,
    nums: `'{1.1,2.0}'`,
    md: `'sad'`,
    pr: `'(1,a)'`,
    hs: `'"k"=>"v"'`,
    ct: `'mixed'`,
    mds: `'{sad}'`,
  };
  for (const [column, value] of Object.entries(changes))
    await pipeline.target.query(`UPDATE sample SET ${column} = ${value} WHERE id = '00000000-0000-0000-0000-000000000001'`);
  const found = await pipeline.verify();
  expect(found).toMatchObject({ differences: 1, inconclusive: 0 });
  expect(found.tables[0]?.sample[0]?.columns.toSorted()).toEqual(Object.keys(changes).toSorted());
});

test('declared casts and renames are applied to the source by the same expression', async () => {
  await using pipeline = await play({
    sourceSql: `CREATE TABLE old (code char(4) PRIMARY KEY, price float8, at timestamp, flag int4, label varchar(40), big text)`,
    targetSql: `CREATE TABLE fresh (code_text text PRIMARY KEY, price numeric(10,2), at timestamptz, flag bool, label varchar(5), big int8)`,
    tables: `  - from: public.old\n    to: public.fresh\n    columns:\n      code: { to: code_text, cast: text }\n      price: { cast: "numeric(10,2)" }\n      at: { zone: Europe/Berlin }\n      flag: { cast: boolean }\n      label: { cast: "varchar(5)" }\n      big: { cast: bigint }\n`,
  });
  await pipeline.source.query(
    `INSERT INTO old VALUES ('a', 1.005, '2026-07-01 12:00', 1, 'longer than five', ' 007 '), ('bb', 'NaN', NULL, 0, NULL, '-1'), ('cccc', 2.345, '2026-01-01', NULL, 'abc', NULL)`,
  );
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({
    differences: 0,
    inconclusive: 0,
    tables: [{ from: 'public.old', to: 'public.fresh', rowsTarget: 3 }],
  });
  await pipeline.stopFollowing();
  await pipeline.source.query(
    `UPDATE old SET code = 'd', price = price + 0.001 WHERE code = 'a'; DELETE FROM old WHERE code = 'bb'; UPDATE old SET big = '8' WHERE code = 'cccc'`,
  );
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0 });
  await pipeline.target.query(`UPDATE fresh SET at = at + interval '1 h' WHERE code_text = 'cccc'`);
  await pipeline.target.query(`DELETE FROM fresh WHERE code_text = 'never'`);
  const found = await pipeline.verify();
  expect(found.tables[0]?.sample).toEqual([{ key: { code_text: 'cccc' }, kind: 'different', columns: ['at'], sourceKey: ['cccc'] }]);
});

test('a source of another encoding is compared by its texts converted', async () => {
  await using host = await freshDatabase(18);
  const admin = await import('#connectors/postgres/session.ts').then(({ connect }) =>
    connect(host.url, { applicationName: 'test', role: 'source' }),
  );
  await admin.query(`CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`);
  await admin.end();
  const sql = 'CREATE TABLE word (id int4 PRIMARY KEY, w text); CREATE TABLE bag (w text); ALTER TABLE bag REPLICA IDENTITY FULL';
  await using pipeline = await play({ sourceUrl: host.server.url('latin'), sourceSql: sql });
  await pipeline.source.query(
    `INSERT INTO word SELECT g, chr(g) || 'ÿ' || chr(160) FROM generate_series(1, 255) g; INSERT INTO bag SELECT w FROM word`,
  );
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0, tables: [{ rowsSource: 255 }, { rowsSource: 255 }] });
  await pipeline.stopFollowing();
  await pipeline.source.query(`UPDATE word SET w = w || 'é' WHERE id > 200; UPDATE bag SET w = 'ü' WHERE w LIKE 'a%'`);
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0 });
  await pipeline.target.query(`UPDATE word SET w = 'wrong' WHERE id = 65`);
  expect((await pipeline.verify()).tables.find((table) => table.to === 'public.word')?.sample).toMatchObject([
    { key: { id: '65' }, columns: ['w'] },
  ]);
});

test('types of one name that each server defines in its own way raise no alarm, and hide no difference', async () => {
  const types = (digits: string, length: number, labels: string): string =>
    `CREATE DOMAIN price AS numeric(${digits}); CREATE DOMAIN code AS char(${length}); CREATE TYPE mood AS ENUM (${labels});`;
  await using pipeline = await play({
    name: 'own_types',
    sourceSql: `${types('10,2', 4, `'sad'`)} CREATE TABLE d (id int4 PRIMARY KEY, p price, c code, m text, ms text)`,
    targetSql: `${types('12,4', 6, `'sad','ok'`)} CREATE TABLE d (id int4 PRIMARY KEY, p price, c code, m mood, ms mood[])`,
    tables: `  - { from: public.d, columns: { m: { cast: public.mood }, ms: { cast: "public.mood[]" } } }\n`,
  });
  await pipeline.source.query(`INSERT INTO d VALUES (1, 1.5, 'ab', 'ok', '{ok,NULL}'), (2, NULL, NULL, NULL, NULL)`);
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.stopFollowing();
  await pipeline.source.query(`UPDATE d SET p = 7.25, c = 'x', m = 'ok'`);
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.target.query(`UPDATE d SET p = 7.2501, c = 'xy', m = 'sad', ms = '{ok}' WHERE id = 1`);
  expect((await pipeline.verify()).tables[0]?.sample).toMatchObject([{ key: { id: '1' }, columns: ['p', 'c', 'm', 'ms'] }]);
});

test('rows are found by keys whose modifier is another one on the target', async () => {
  const tables = (numeric: string, char: string, whole: string): string =>
    [numeric, char, whole].map((type, i) => `CREATE TABLE k${i} (id ${type} PRIMARY KEY, v text);`).join(' ');
  await using pipeline = await play({
    name: 'keys',
    sourceSql: tables('numeric(10,2)', 'char(4)', 'int4'),
    targetSql: tables('numeric(12,4)', 'char(6)', 'numeric(12,2)'),
  });
  const fill = (from: number, to: number): string =>
    [0, 1, 2].map((i) => `INSERT INTO k${i} SELECT g, 'v' || g FROM generate_series(${from}, ${to}) g`).join('; ');
  await pipeline.source.query(fill(1, 5));
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.stopFollowing();
  const change = [0, 1, 2].map((i) => `UPDATE k${i} SET v = v || 'x' WHERE v < 'v3'; DELETE FROM k${i} WHERE v = 'v4'`).join('; ');
  await pipeline.source.query(`${change}; ${fill(7, 8)}`);
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.target.query([0, 1, 2].map((i) => `UPDATE k${i} SET v = 'bad' WHERE v = 'v5'`).join('; '));
  const { tables: found } = await pipeline.verify();
  expect(found.map(({ sample }) => sample)).toMatchObject([0, 1, 2].map(() => [{ kind: 'different', columns: ['v'] }]));
});
