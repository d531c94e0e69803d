import { expect, test } from 'vitest';
import { readTestsFile } from '#schemas/config/read-tests-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { mayBePersonal } from '#schemas/mapping/personal-data.ts';
import { runMappingTests } from '#schemas/mapping/run-tests.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

test('a living row has what tells it from deleted ones', async () => {
  const source = await catalogOf('CREATE TABLE a (id int PRIMARY KEY)');
  const target = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, deleted boolean NOT NULL, deleted_at timestamptz)');
  const file = fileOf('  - from: public.a\n    deletes: { soft: { column: deleted, at: deleted_at } }\n');
  const { mapping } = compileMapping(file, source, target);
  const text = `tests:
  - { from: public.a, given: { id: 1 }, expect: { id: 1, deleted: false, deleted_at: null } }
  - { from: public.a, given: { id: 1 }, expect: { deleted: true } }\n`;
  const results = runMappingTests(readTestsFile({ path: 't', text }).tests, mapping!, source);
  expect(results.map(({ faults }) => faults.map(({ message }) => message))).toEqual([[], ['test 2: "deleted": expected "true", got "f"']]);
});

test('what init marks as personal is never recorded as it is', async () => {
  const source = await catalogOf(
    'CREATE TABLE customer (id int PRIMARY KEY, otp text, iban_no bigint, dob date, quantity int, state char(1)); ALTER TABLE customer REPLICA IDENTITY FULL',
  );
  const { mapping } = compileMapping(fileOf('  - from: public.customer\n    where: { otp: x, state: A }\n'), source, source);
  const personal = source.tables[0]!.columns.filter((column) => mayBePersonal(column, mapping!.tables));
  expect(personal.map(({ name }) => name)).toEqual(['otp', 'iban_no', 'dob']);
});

test('the elements of an array are the rows that are expected, in any order, and what refuses a row is told', async () => {
  const source = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, lines jsonb, tags text[])');
  const target = await catalogOf(`CREATE TABLE line (a_id int, sku text, qty int, at timestamptz, deep jsonb, PRIMARY KEY (a_id, sku));
    CREATE TABLE tag (a_id int, n int, tag text, PRIMARY KEY (a_id, n))`);
  const file = fileOf(`  - from: public.a
    to: public.line
    columns: { id: a_id }
    explode: { column: lines, fields: { sku: sku, qty: qty, at: { to: at, cast: timestamptz }, /in/deep: deep } }
  - { from: public.a, to: public.tag, columns: { id: a_id }, explode: { column: tags, element: tag, ordinal: n } }\n`);
  const { mapping, findings } = compileMapping(file, source, target);
  expect(findings).toEqual([]);
  const given = (lines: string, tags = 'null'): string => `{ id: 1, lines: '${lines}', tags: ${tags} }`;
  const text = `tests:
  - from: public.a
    given: ${given('[{"sku":"x","qty":1,"in":{"deep":[1, 2]}},{"sku":"y\\u00fc"}]', "'{t,NULL}'")}
    expect:
      - { to: public.tag, row: { a_id: 1, n: 2, tag: null } }
      - { to: public.line, row: { a_id: 1, sku: 'yü', qty: null, deep: null } }
      - { to: public.line, row: { a_id: 1, sku: x, qty: 1, deep: '[1,2]' } }
      - { to: public.tag, row: { n: 1, tag: t } }
  - { from: public.a, given: ${given('null')}, expect: none }
  - { from: public.a, given: ${given('{}')}, error: no JSON array }
  - { from: public.a, given: ${given('[{"sku":"x"},7]')}, error: element 2 of lines is no object }
  - { from: public.a, given: ${given('[{"sku":"x"},{"sku":"x"}]')}, error: two elements of "lines" have the same sku }
  - { from: public.a, given: ${given('[{"qty":1}]')}, error: 'nothing for "sku"' }
  - { from: public.a, given: ${given('[{"sku":"x","at":"2026-01-01"}]')}, expect: { at: '2026-01-01' } }
  - { from: public.a, given: ${given('[{"sku":"x"}]')}, expect: { sku: z } }\n`;
  const read = readTestsFile({ path: 't', text });
  expect(read.findings).toEqual([]);
  const results = runMappingTests(read.tests, mapping!, source);
  expect(results.map(({ faults }) => faults.map(({ message }) => message))).toEqual([
    ...Array.from({ length: 6 }, () => []),
    [
      'test 7: "at" is cast to timestamp with time zone by the server, and what comes of this value is not known without one: leave it out of expect, or compute it under set',
    ],
    ['test 8: "sku": expected "z", got "x"'],
  ]);
});
