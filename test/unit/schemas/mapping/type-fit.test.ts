import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { fitTypes, typeWorld, type Fit } from '#schemas/mapping/type-fit.ts';
import { quoteLiteral, type Catalog, type CatalogColumn } from '#schemas/table.ts';
import { compile, told } from '#test/support/compile.ts';
import { freshDatabase, type FreshDatabase } from '#test/support/postgres.ts';

/** Each type with values at its edges, as its own output prints them or as its input reads them. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  smallint: ['-32768', '0', '32767'],
  integer: ['-2147483648', '1000000', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
  oid: ['0', '4294967295'],
  real: ['0.1', '1000000', '1e-45', '3.4028235e38', 'NaN', '-Infinity', '-0'],
  'double precision': ['0.1', '1e15', '5e-324', '1.7976931348623157e308', 'NaN', 'Infinity'],
  numeric: ['0.100', '1e-20', '123456789012345678901234567890.5', 'NaN', 'Infinity'],
  'numeric(5,0)': ['99999', '-1'],
  'numeric(20,0)': ['99999999999999999999'],
  'numeric(22,2)': ['99999999999999999999.99'],
  'numeric(12,2)': ['9999999999.99', '-0.01'],
  'numeric(12,4)': ['99999999.9999'],
  'numeric(3,-2)': ['99900'],
  text: ['', 'a ', ' ', 'żółć'],
  'character varying': ['', 'a  '],
  'character varying(5)': ['', 'abcde', 'a   '],
  'character varying(9)': ['abcdefghi'],
  'character(5)': ['', 'ab', 'abcde'],
  'character(9)': ['abcdefghi', 'a'],
  name: ['', 'a_name'],
  'timestamp without time zone': ['infinity', '0044-03-15 12:00:00.000001 BC', '2026-03-29 02:30:00'],
  'timestamp(3) without time zone': ['2026-03-29 02:30:00.123'],
  'timestamp with time zone': ['-infinity', '2026-03-29 02:30:00.5+00'],
  date: ['2026-11-21', '0044-03-15 BC', '5874897-12-31'],
  'time without time zone': ['24:00:00', '00:00:00.000001'],
  interval: ['1 year 2 mons -3 days 04:05:06.789', '178000000 years'],
  inet: ['10.0.0.1', '10.0.0.1/8', '::1'],
  cidr: ['10.0.0.0/8', '10.0.0.1/32', '::1/128'],
  'bit(3)': ['101'],
  'bit varying(5)': ['', '10101'],
  'bit varying': ['1'.repeat(70)],
  json: ['{"b":1,  "a":1, "a":2}', 'null'],
  jsonb: ['{"a": 1.500}', '"\\ud83d\\ude42"', '12345678901234567890'],
  boolean: ['t', 'f'],
  uuid: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  bytea: ['\\x', '\\x00ff'],
  money: ['$1.00', '-$92,233,720,368,547,758.08'],
  'integer[]': ['{}', '{{1,NULL},{-3,4}}', '[0:1]={5,6}'],
  'bigint[]': ['{9223372036854775807}'],
  'numeric(12,2)[]': ['{1.50,NULL}'],
  'numeric(12,4)[]': ['{1.5000}'],
  'text[]': ['{"a,b","",NULL,"NULL","\\\\"}'],
  xml: ['<a/>'],
};

let database: FreshDatabase;
let catalog: Catalog;
let columns: Map<string, CatalogColumn>;

beforeAll(async () => {
  database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  await client.query(
    `CREATE TABLE public.t (${Object.keys(TYPES)
      .map((type, i) => `c${i} ${type}`)
      .join(', ')})`,
  );
  catalog = await readCatalog(client);
  await client.end();
  columns = new Map(Object.keys(TYPES).map((type, i) => [type, catalog.tables[0]!.columns[i]!]));
});
afterAll(async () => database[Symbol.asyncDispose]());

function fit(from: string, to: string): Fit {
  return fitTypes(columns.get(from)!, columns.get(to)!, typeWorld(catalog, catalog));
}

test('what passes as it is prints the same text, and what is converted keeps its value', async () => {
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  const checks: { what: string; sql: string }[] = [];
  for (const [from, values] of Object.entries(TYPES)) {
    for (const to of Object.keys(TYPES)) {
      const { kind } = fit(from, to);
      for (const value of kind === 'no' ? [] : values) {
        const source = `${quoteLiteral(value)}::${from}`;
        const text = `pg_catalog.format('%s', ${source})`;
        const what = `${from} → ${to}: ${value}`;
        // Through an assignment's eyes: without the modifier first, so that nothing is cut.
        if (kind === 'same') checks.push({ what, sql: `pg_catalog.format('%s', ${text}::${to}) = ${text} COLLATE "C"` });
        else checks.push({ what, sql: `pg_catalog.format('%s', (${source})::${to}::${from}) = ${text} COLLATE "C"` });
      }
    }
  }
  const wrong: string[] = [];
  for (const { what, sql } of checks) {
    const row = await queryRow(client, `SELECT ${sql} AS ok`).catch((error: unknown) => ({ ok: String(error) }));
    if (row?.['ok'] !== 't') wrong.push(`${what} ${row?.['ok']}`);
  }
  await client.end();
  expect(checks.length).toBeGreaterThan(Object.keys(TYPES).length);
  expect(wrong).toEqual([]);
});

describe('the rules', () => {
  test.each([
    ['smallint', 'integer', 'same'],
    ['integer', 'bigint', 'same'],
    ['bigint', 'integer', 'no'],
    ['bigint', 'numeric', 'same'],
    ['bigint', 'numeric(22,2)', 'convert'],
    ['bigint', 'numeric(12,2)', 'no'],
    ['integer', 'numeric(12,2)', 'convert'],
    ['numeric(12,2)', 'numeric(12,4)', 'no'],
    ['numeric(12,2)', 'numeric(22,2)', 'same'],
    ['numeric', 'numeric(12,2)', 'no'],
    ['integer', 'double precision', 'same'],
    ['bigint', 'double precision', 'no'],
    ['character varying(5)', 'character varying(9)', 'same'],
    ['character varying(9)', 'character varying(5)', 'no'],
    ['character varying(9)', 'text', 'same'],
    ['text', 'character varying(9)', 'no'],
    ['character(5)', 'character(9)', 'convert'],
    ['character(5)', 'text', 'no'],
    ['timestamp without time zone', 'timestamp with time zone', 'no'],
    ['timestamp without time zone', 'timestamp(3) without time zone', 'no'],
    ['timestamp(3) without time zone', 'timestamp without time zone', 'same'],
    ['json', 'jsonb', 'no'],
    ['jsonb', 'json', 'same'],
    ['integer[]', 'bigint[]', 'same'],
    ['integer[]', 'integer', 'no'],
  ] as const)('%s → %s: %s', (from, to, kind) => {
    expect(fit(from, to).kind).toBe(kind);
  });
});

describe('in a file', () => {
  test('a narrower type is named with the line that declares it', async () => {
    const { findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY, p numeric(12,4), t timestamp, j json, c char(3))',
      target: 'CREATE TABLE a (id int PRIMARY KEY, p numeric(12,2), t timestamptz, j jsonb, c text)',
    });
    expect(findings.map((one) => [one.message, one.remedy])).toEqual([
      [
        '"p" of public.a is numeric(12,4), "p" of public.a is numeric(12,2): digits behind the point would be rounded',
        "Change the type on the target, or declare it under columns: `p: { cast: 'numeric(12,2)' }`.",
      ],
      [
        '"t" of public.a is timestamp without time zone, "t" of public.a is timestamp with time zone: which moment a local time means depends on its time zone',
        'Change the type on the target, or declare it under columns: `t: { zone: Europe/Berlin }`.',
      ],
      [
        '"j" of public.a is json, "j" of public.a is jsonb: jsonb keeps neither the order of keys, nor duplicate keys, nor white space',
        'Change the type on the target, or declare it under columns: `j: { cast: jsonb }`.',
      ],
      [
        '"c" of public.a is character(3), "c" of public.a is text: a char(n) is padded with blanks, which the cast takes off',
        'Change the type on the target, or declare it under columns: `c: { cast: text }`.',
      ],
    ]);
  });

  test("declared casts become casts of the server, in the catalogue's own spelling", async () => {
    const { mapping, findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY, p numeric(12,4), t timestamp, j json, n int, m varchar(9), s text)',
      target: `CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN small AS int CHECK (VALUE < 9);
        CREATE TABLE a (id int PRIMARY KEY, p decimal(12,2), t timestamptz(3), j jsonb, n small, m mood, s varchar(4))`,
      tables: `  - from: public.a
    columns: { p: { cast: "decimal(12, 2)" }, t: { zone: Europe/Berlin }, j: { cast: JSONB }, n: { cast: public.small }, m: { cast: mood }, s: { cast: varchar } }
`,
    });
    expect(findings).toEqual([]);
    expect(mapping?.tables[0]?.columns.map((column) => column.cast)).toEqual([
      undefined,
      { fromType: 'numeric', sql: '($$)::numeric(12,2)' },
      { fromType: 'timestamp without time zone', sql: "($$ AT TIME ZONE 'Europe/Berlin')::timestamp(3) with time zone" },
      { fromType: 'json', sql: '($$)::jsonb' },
      undefined,
      undefined,
      { fromType: 'text', sql: '($$)::character varying(4)' },
    ]);
  });

  test('a cast that is no type, another type or no zone is refused', async () => {
    const { findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY, p text, q text, t timestamp, u timestamp, w int)',
      target: 'CREATE TABLE a (id int PRIMARY KEY, p int, q int, t timestamptz, u timestamptz, w timestamptz)',
      tables: `  - from: public.a
    columns: { p: { cast: "int); DROP TABLE a; --" }, q: { cast: bigint }, t: { zone: Europe/Berlni }, u: { zone: "+01" }, w: { zone: UTC } }
`,
    });
    expect(told(findings).map((one) => one.slice(one.indexOf(' ') + 1))).toEqual([
      'CF-1004 "cast" of column "p" is not a type; expected for example numeric(12,2)',
      'CF-4001 column "q" is cast to bigint, but "q" of public.a is integer',
      'CF-4001 "Europe/Berlni" is not an IANA time zone; did you mean "Europe/Berlin"?',
      'CF-4001 "+01" is not an IANA time zone',
      'CF-4001 column "w" has a zone, but goes from integer to timestamp with time zone',
    ]);
  });

  test('a cast that no server has is refused before it is tried', async () => {
    const { findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY, b bigint, i int, t text, n int[], x text[])',
      target: 'CREATE TABLE a (id int PRIMARY KEY, b boolean, i boolean, t uuid, n bigint, x text)',
      tables:
        '  - from: public.a\n    columns: { b: { cast: bool }, i: { cast: bool }, t: { cast: uuid }, n: { cast: bigint }, x: { cast: text } }\n',
    });
    expect(findings.map((one) => one.message)).toEqual([
      'PostgreSQL has no cast from bigint to boolean (column "b")',
      'PostgreSQL has no cast from integer[] to bigint (column "n")',
    ]);
  });

  test('types of users are compared by name and by what they are made of', async () => {
    const types = (labels: string, part: string, base: string): string =>
      `CREATE TYPE mood AS ENUM (${labels}); CREATE TYPE pair AS (a int, b ${part}); CREATE DOMAIN dom AS ${base}; CREATE TYPE span AS RANGE (SUBTYPE = int);
       CREATE TABLE a (id int PRIMARY KEY, m mood, ms mood[], p pair, d dom, s span, x int)`;
    const source = types("'ok', 'bad'", 'text', 'varchar(5)');
    const same = await compile({ source, target: types("'bad', 'ok', 'new'", 'text', 'varchar(9)') });
    expect(same.findings).toEqual([]);
    const other = await compile({ source, target: types("'ok'", 'int', 'varchar(3)').replace('x int', 'x dom') });
    expect(told(other.findings).map((one) => one.slice(one.indexOf(' ') + 1))).toEqual([
      'CF-4001 "m" of public.a is public.mood, "m" of public.a is public.mood: the target\'s enum lacks "bad"',
      'CF-4001 "ms" of public.a is public.mood[], "ms" of public.a is public.mood[]: the target\'s enum lacks "bad"',
      'CF-4001 "p" of public.a is public.pair, "p" of public.a is public.pair: the two types of that name are defined differently',
      'CF-4001 "d" of public.a is public.dom, "d" of public.a is public.dom: longer values would be cut',
      'CF-4001 "x" of public.a is integer, "x" of public.a is public.dom: the domain may refuse values that the source type allows',
    ]);
  });

  test('types of an extension are the same in any schema', async () => {
    const { findings } = await compile({
      source: 'CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE TABLE a (id citext PRIMARY KEY, h hstore, hs hstore[])',
      target:
        'CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TABLE a (id ext.citext PRIMARY KEY, h ext.hstore, hs ext.hstore[])',
    });
    expect(findings).toEqual([]);
  });
});
