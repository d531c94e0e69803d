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
