import { describe, expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { draftMissingTables } from '#schemas/mapping/ddl.ts';
import { invertMapping } from '#schemas/mapping/inverse/invert-table.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { catalogOf, compile, fileOf, told } from '#test/support/compile.ts';

const SOURCE =
  'CREATE TABLE a (id int PRIMARY KEY, name text, items jsonb, tags text[], boxes box[], total numeric GENERATED ALWAYS AS (1) STORED)';
const TARGET = `CREATE TABLE a (id int PRIMARY KEY, name text, tags text[], boxes box[]);
  CREATE TABLE line (a_id int, sku text, qty int, price numeric(12,2), place int, made text GENERATED ALWAYS AS (sku) STORED, span int4range, PRIMARY KEY (a_id, sku))`;

const entry = (explode: string, rest = ''): string => `  - { from: public.a, to: public.a, unmapped: ignore }
  - from: public.a
    to: public.line
    columns: { id: a_id }
    explode: ${explode}${rest === '' ? '' : `\n    ${rest}`}
`;

async function findings(explode: string, more: { rest?: string; source?: string; target?: string } = {}): Promise<string[]> {
  const { source = SOURCE, target = TARGET, rest } = more;
  return told((await compile({ source, target, tables: entry(explode, rest) })).findings);
}

describe('an array that becomes rows', () => {
  test('brings the key of its row, what the elements hold, and its place; the key is what the target has beside', async () => {
    const explode = "{ column: items, fields: { sku: sku, qty: qty, /price/net: { to: price, cast: 'numeric(12,2)' } }, ordinal: place }";
    const { mapping, findings: found } = await compile({ source: SOURCE, target: TARGET, tables: entry(explode) });
    expect(told(found)).toEqual([]);
    const [, line] = mapping!.tables;
    expect(line).toMatchObject({
      columns: [
        { target: 'a_id', source: { name: 'id' } },
        { target: 'items[]', targetType: 'jsonb', source: { name: 'items' } },
      ],
      sourceKey: ['id'],
      targetKey: ['a_id'],
      dropped: ['name', 'tags', 'boxes', 'total'],
      explode: {
        array: 'jsonb',
        name: 'items',
        parts: [
          { target: 'sku', path: ['sku'] },
          { target: 'qty', path: ['qty'] },
          { target: 'price', path: ['price', 'net'], cast: { sql: '($$)::numeric(12,2)' } },
        ],
        ordinal: { target: 'place' },
        key: ['sku'],
      },
    });
    expect(line).not.toHaveProperty('deletes');
    const kept = await compile({ source: SOURCE, target: TARGET, tables: entry('{ column: items, fields: { sku: sku }, orphans: keep }') });
    expect(kept.mapping!.tables[1]).toMatchObject({ deletes: 'ignore', truncates: 'ignore' });
    expect(kept.mapping!.hash).not.toBe(mapping!.hash);
  });

  test('of PostgreSQL brings its elements with their type', async () => {
    const target = TARGET.replace('PRIMARY KEY (a_id, sku)', 'UNIQUE (place, a_id)')
      .replace('place int', 'place int NOT NULL')
      .replace('a_id int', 'a_id int NOT NULL');
    const { mapping, findings: warnings } = await compile({
      source: SOURCE,
      target,
      tables: entry('{ column: tags, element: sku, ordinal: place }', 'drop: [items]'),
    });
    expect(mapping!.tables[1]!.explode).toMatchObject({
      array: 'array',
      parts: [{ target: 'sku', source: { type: 'text' } }],
      key: ['place'],
    });
    expect(told(warnings)).toEqual([
      '10:5 warning CF-4001 the key ("place", "a_id") of public.line does not begin with ("a_id"), by which the rows of one parent are found',
    ]);
    const numbers = { source: SOURCE.replace('text[]', 'bigint[]'), target: target.replaceAll('tags text[]', 'tags bigint[]') };
    expect(await findings('{ column: tags, element: sku, ordinal: place }', { ...numbers, rest: 'drop: [items]' })).toEqual([
      expect.stringContaining('CF-4001 "sku" of public.line is text, and the element is bigint: values may be lost or printed otherwise'),
    ]);
  });

  test.each<[string, string, string]>([
    [
      'a column that is not there',
      '{ column: item, fields: { sku: sku } }',
      '10:5 CF-1008 public.a of the source has no column "item"; did you mean "items"?',
    ],
    [
      'a column that is no array',
      '{ column: name, fields: { sku: sku } }',
      '10:5 CF-4001 column "name" of public.a is text: neither json, jsonb nor an array',
    ],
    [
      'elements that are not parted by commas',
      '{ column: boxes, element: sku }',
      '10:5 CF-4001 column "boxes" of public.a is box[], whose elements are not parted by commas',
    ],
    [
      'fields of what has none',
      '{ column: tags, fields: { sku: sku } }',
      '10:40 CF-4001 field "sku": elements of "tags" are text, which have no fields',
    ],
    [
      'a target column that is not there',
      '{ column: items, fields: { sku: skus } }',
      '10:41 CF-1008 field "sku": public.line of the target has no column "skus"; did you mean "sku"?',
    ],
    [
      'a column that is computed',
      '{ column: items, fields: { sku: sku, x: made } }',
      '10:51 CF-4001 field "x": column "made" of public.line is generated and cannot be written',
    ],
    [
      'one column twice',
      '{ column: items, fields: { sku: sku, x: sku } }',
      '10:5 CF-4001 field "sku" and field "x" both go to "sku" of public.line',
    ],
    [
      'the column of the key',
      '{ column: items, fields: { sku: sku, x: a_id } }',
      '10:5 CF-4001 "id" and field "x" both go to "a_id" of public.line',
    ],
    [
      'a value that could be rounded',
      '{ column: items, fields: { sku: sku, p: price } }',
      '10:51 CF-4001 "price" of public.line is numeric(12,2), and field "p" is JSON: values may be lost or printed otherwise',
    ],
    [
      'a type that only its own text tells',
      '{ column: items, fields: { sku: sku, s: span } }',
      '10:51 CF-4001 "span" of public.line is int4range, and field "s" is JSON',
    ],
    [
      'an ordinal that is no number',
      '{ column: items, fields: { x: qty }, ordinal: sku }',
      '10:51 CF-4001 "sku" of public.line is text; the ordinal is a whole number',
    ],
    [
      'a pointer that is none',
      '{ column: items, fields: { sku: sku, /a~2: qty } }',
      '10:51 CF-1004 "/a~2" is no JSON pointer; expected for example /address/town',
    ],
    [
      'an index that only PostgreSQL takes',
      '{ column: items, fields: { sku: sku, /a/-1: qty } }',
      '10:51 CF-1004 "/a/-1" is no JSON pointer',
    ],
  ])('cannot have %s', async (_what, explode, message) => {
    expect(await findings(explode)).toContainEqual(expect.stringContaining(message));
  });

  test.each<[string, string, string]>([
    ['computed columns', 'set: { qty: { value: 1 } }', '11:12 CF-4001 `set` beside `explode` is not built yet'],
    ['deletes', 'deletes: ignore', '11:5 CF-4001 what becomes of children is said by `orphans`, not by `deletes` and `truncates`'],
    ['truncates', 'truncates: halt', '7:11 CF-4001 what becomes of children is said by `orphans`'],
    ['the array elsewhere', 'drop: [items]', '11:12 CF-4001 column "items" of public.a is taken apart by `explode`'],
  ])('stands in an entry without %s', async (_what, rest, message) => {
    expect(await findings('{ column: items, fields: { sku: sku } }', { rest })).toContainEqual(expect.stringContaining(message));
  });

  test('needs a key of its row, a target of its own, and whole rows where there is a filter', async () => {
    const explode = '{ column: items, fields: { sku: sku } }';
    const keyless = SOURCE.replace('int PRIMARY KEY', 'int') + '; ALTER TABLE a REPLICA IDENTITY FULL';
    expect(await findings(explode, { source: keyless })).toContainEqual(
      expect.stringContaining('10:5 CF-4001 public.a has no key, so the rows that "items" becomes could not be found again'),
    );
    const twice = `${entry(explode)}  - from: public.b\n    to: public.line\n    columns: { id: a_id }\n    explode: ${explode}\n`;
    const source = `${SOURCE}; CREATE TABLE b (id int PRIMARY KEY, items jsonb)`;
    const both = await compile({ source, target: TARGET, tables: twice });
    expect(told(both.findings)).toEqual(['12:9 CF-4001 public.a and public.b both go to public.line']);
    expect(await findings(explode, { rest: 'where: { name: x }' })).toEqual([
      expect.stringContaining('CF-2008 public.a: it has a row filter, and "name" may be left out of an update (unchanged TOAST)'),
    ]);
    expect(await findings(explode)).toEqual([]);
    const loose = TARGET.replace('PRIMARY KEY (a_id, sku)', 'PRIMARY KEY (a_id)');
    expect(await findings(explode, { target: loose })).toEqual([
      '10:5 CF-4001 public.line has no unique NOT NULL key of (a_id) and what tells the elements of "items" apart (of sku)',
    ]);
  });

  test('takes one column: the others are for other entries, or dropped', async () => {
    const alone = `  - from: public.a\n    to: public.line\n    columns: { id: a_id }\n    explode: { column: items, fields: { sku: sku } }\n`;
    const { findings: found } = await compile({ source: SOURCE, target: TARGET, tables: alone });
    expect(told(found)).toEqual(
      ['name', 'tags', 'boxes'].map((name) => `6:11 CF-4001 column "${name}" of public.a goes nowhere: this entry takes "items" only`),
    );
    const beside = entry('{ column: items, fields: { sku: sku } }').replace('{ id: a_id }', '{ id: a_id, name: sku }');
    expect(told((await compile({ source: SOURCE, target: TARGET, tables: beside })).findings)).toContainEqual(
      expect.stringContaining('"name" is no key column of public.a, and only those go beside what `explode` names'),
    );
    const glob = alone.replace('public.a', 'public.*');
    expect(told((await compile({ source: SOURCE, target: TARGET, tables: glob })).findings)).toContainEqual(
      expect.stringContaining('`explode` takes one table apart, and public.* may be several'),
    );
  });

  test('does not go over Kafka yet, nor to Redis', async () => {
    const explode = '{ column: items, fields: { sku: sku } }';
    const file = fileOf(entry(explode));
    const kafka = { brokers: ['h:1'], partitions: 1, format: 'json', compression: 'none' } as const;
    const settings = { ...file.settings, log: { ...file.settings.log, kafka } };
    const [source, target] = [await catalogOf(SOURCE), await catalogOf(TARGET)];
    expect(told(compileMapping({ ...file, settings }, source, target).findings)).toContainEqual(
      '10:5 CF-4001 "items" of public.a becomes rows of public.line, which a log on Kafka does not carry yet',
    );
    const alone = { ...file, tables: file.tables.slice(1), target: { redis: { url: 'redis://h', cluster: false } } };
    expect(told(compileRedisMapping(alone, source).findings)).toContainEqual(
      '10:5 CF-4001 rows of public.a are not taken apart on the way to Redis',
    );
  });

  test('has a draft of its target, and cannot be put together again', async () => {
    const file = fileOf(entry('{ column: items, fields: { sku: sku, qty: { to: qty, cast: integer } }, ordinal: place }'));
    const source = await catalogOf(SOURCE);
    const { sql } = draftMissingTables(file, source, await catalogOf('SELECT'));
    expect(sql).toContain(`CREATE TABLE "public"."line" (
  "a_id" integer NOT NULL,
  "sku" text,
  "qty" integer,
  "place" integer NOT NULL,
  PRIMARY KEY ("a_id", "place")
);`);
    const { mapping } = await compile({ source: SOURCE, target: TARGET, tables: entry('{ column: items, fields: { sku: sku } }') });
    expect(invertMapping(mapping!.tables, source)[0]!.lost).toEqual([{ column: 'items', why: 'its elements become rows of public.line' }]);
  });
});

test.each<[string, string]>([
  ['{ column: items }', '9:14 CF-1004 "tables[0].explode": expected fields, element or ordinal: what the rows are made of'],
  ['{ fields: { a: b } }', '9:14 CF-1004 "tables[0].explode.column" is missing; expected a column name'],
  ['{ column: items, fields: { a: 7 } }', '9:44 CF-1004 "tables[0].explode.fields.a": expected the target column, or a block of to, cast'],
  ['{ column: items, ordinal: n, orphan: keep }', '9:43 CF-1004 unknown key "orphan" in "tables[0].explode"; did you mean "orphans"?'],
  ['{ column: items, ordinal: n, orphans: stay }', '9:52 CF-1004 "tables[0].explode.orphans": expected delete or keep'],
])('%s is told with its place', (explode, message) => {
  const head = 'crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\n';
  const text = `${head}tables:\n  - from: public.a\n    to: public.line\n\n    explode: ${explode}\n`;
  expect(told(readMigrationFile({ path: 'm.yaml', text, env: {} }).findings)).toEqual([message]);
});
