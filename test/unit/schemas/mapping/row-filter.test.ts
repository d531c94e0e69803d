import { expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import type { FilterEntry } from '#schemas/config/migration-file.ts';
import { compileRowPredicate, filterSql } from '#schemas/mapping/row-filter.ts';
import { quoteIdent } from '#schemas/table.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { catalogOf, fileOf, told } from '#test/support/compile.ts';
import { sharedServer } from '#test/support/postgres.ts';

/** Column types with values; the first two are what the filters name. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  smallint: ['7', '-8', '9'],
  bigint: ['9007199254740993', '0', '1'],
  text: ["it's", 'a\\b', ''],
  'varchar(9)': ['x ', 'x', 'X'],
  'char(4)': ['DE', 'D', 'DEFG'],
  boolean: ['true', 'false'],
  uuid: ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '00000000-0000-0000-0000-000000000000'],
  date: ['2026-11-21', '2026-11-22', '0044-03-15 BC'],
  mood: ['ok', 'bad', 'so so'],
  small: ['7', '8'],
};

test('a filter decides alike in TypeScript and in SQL, for every type that may be filtered', async () => {
  const names = Object.keys(VALUES);
  const types = "CREATE TYPE mood AS ENUM ('ok', 'bad', 'so so'); CREATE DOMAIN small AS int";
  const table = `CREATE TABLE a (id serial PRIMARY KEY, ${names.map((type, i) => `c${i} ${type}`).join(', ')})`;
  const rows = names.flatMap((type, i) =>
    [...VALUES[type]!, null].map(
      (value) => `INSERT INTO a (c${i}) VALUES (${value === null ? 'NULL' : `'${value.replaceAll("'", "''")}'`})`,
    ),
  );
  const client = await connect((await sharedServer(18)).url(), { applicationName: 'test', role: 'source' });
  await client.query(
    `BEGIN; SET LOCAL search_path = public; ${types}; ${table}; ${rows.join(';')}; ALTER TABLE a REPLICA IDENTITY FULL; SET LOCAL search_path = pg_catalog`,
  );
  const catalog = await readCatalog(client);
  const all = await queryRows(client, 'SELECT * FROM public.a');
  for (const [i, type] of names.entries()) {
    const [first, second] = VALUES[type]! as [string, string];
    const entries: FilterEntry[] = (['in', 'not-in'] as const).flatMap((op) => [
      { op, values: [first] },
      { op, values: [first, second] },
      { op, values: [first, null] },
      { op, values: [null] },
    ]);
    for (const entry of entries) {
      const where = JSON.stringify({ [`c${i}`]: entry.op === 'in' ? entry.values : { not: entry.values } });
      const { mapping, findings } = compileMapping(fileOf(`  - { from: public.a, where: ${where} }\n`), catalog, catalog);
      expect(findings).toEqual([]);
      const filter = mapping!.tables[0]!.filter!;
      const accepts = compileRowPredicate(filter);
      const bySql = await queryRows(client, `SELECT id FROM public.a WHERE ${filterSql(filter, quoteIdent)} ORDER BY id::int`);
      const byCode = all.filter((row) => accepts(filter.conditions.map((condition) => row[condition.column] ?? null)));
      expect(
        byCode.map((row) => row['id']),
        `${type} ${where}`,
      ).toEqual(bySql.map((row) => row['id']));
      expect(byCode.length, `${type} ${where}`).toBeGreaterThan(0);
    }
  }
  await client.end();
});

test('a value that the column never has is told: mistyped, it would let through no row, or all of them', async () => {
  const catalog = await catalogOf(
    "CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE DOMAIN feeling AS mood; CREATE TABLE a (id int PRIMARY KEY, m mood, f feeling, v varchar(2))",
  );
  const file = fileOf('  - from: public.a\n    where:\n      m: okk\n      f: { not: [bad, Bad] }\n      v: [ab, abc]\n');
  expect(told(compileMapping(file, catalog, catalog).findings)).toEqual([
    '8:7 CF-1004 `where` compares column "m" with a value that no public.mood is; did you mean "ok"?',
    '9:7 CF-1004 `where` compares column "f" with a value that no public.mood is; did you mean "bad"?',
    '10:7 CF-1004 `where` compares column "v" with a value that no character varying(2) is',
  ]);
});
