import { describe, expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compile, told } from '#test/support/compile.ts';
import { rowFunction, type Field } from '#schemas/mapping/steps/table-steps.ts';

const ONE = 'CREATE TABLE a (id int PRIMARY KEY, name text, other text); ALTER TABLE a REPLICA IDENTITY FULL';
const TARGET = 'CREATE TABLE a (id int UNIQUE, name text, other text, key uuid PRIMARY KEY)';

async function keyOf(set: string, values: Readonly<Record<string, string | null>>): Promise<Field> {
  const tables = `  - { from: public.a, columns: { id: id, name: name, other: other }, set: { key: ${set} } }\n`;
  const { mapping, findings } = await compile({ source: ONE, target: TARGET.replace('UNIQUE', 'NOT NULL UNIQUE'), tables });
  if (mapping === undefined) throw new Error(told(findings).join('\n'));
  const steps = mapping.tables[0]!.steps!;
  const into: Field[] = [];
  expect(
    rowFunction(steps).compute(
      steps.inputs.map(({ name }) => values[name]!),
      into,
    ),
  ).toBeUndefined();
  return into[0];
}

describe('uuid5', () => {
  test('is the UUID of the test vector of RFC 9562, under each way to name the namespace', async () => {
    const uuid = '2ed6657d-e927-568b-95e1-2665a8aea6a2';
    const row = { name: 'www.example.com' };
    expect(await keyOf('{ from: name, steps: [{ uuid5: dns }] }', row)).toBe(uuid);
    const namespace = '6BA7B810-9dad-11d1-80b4-00c04fd430c8';
    expect(await keyOf(`{ from: name, steps: [{ uuid5: { namespace: ${namespace} } }] }`, row)).toBe(uuid);
    expect(await keyOf(`{ from: name, steps: [trim, { uuid5: ${namespace} }] }`, { name: ' www.example.com' })).toBe(uuid);
  });

  test('takes several columns with a separator, and gives null where one of them is null', async () => {
    const several = '{ from: [id, name], steps: [{ uuid5: { namespace: url, sep: "/" } }] }';
    const joined = await keyOf('{ from: name, steps: [{ uuid5: url }] }', { name: '7/x/y' });
    expect(await keyOf(several, { id: '7', name: 'x/y' })).toBe(joined);
    expect(await keyOf(several, { id: '7', name: null })).toBe(null);
    expect(await keyOf('{ from: [id, name], steps: [{ concat: "/" }, { uuid5: url }] }', { id: '7', name: 'x/y' })).toBe(joined);
  });

  test.each([
    ['[name, other]', ':', '"name" and "other" may hold the separator ":", so two rows could get one UUID'],
    ['[id, name]', '1', '"id" and "name" may hold the separator "1", so two rows could get one UUID'],
    ['[id, name]', '', '"id" and "name" may hold the separator "", so two rows could get one UUID'],
  ])('refuses columns that the separator does not keep apart: %s by "%s"', async (from, sep, message) => {
    const set = `{ from: ${from}, steps: [{ uuid5: { namespace: url, sep: "${sep}" } }] }`;
    await expect(keyOf(set, {})).rejects.toThrow(`CF-4001 "key": uuid5: ${message}`);
  });
});

test('a primary key that is computed is to be made of the whole key of the source, and of nothing else', async () => {
  const source = 'CREATE TABLE a (tenant int, id int, name int, PRIMARY KEY (tenant, id))';
  const target = 'CREATE TABLE a (key uuid PRIMARY KEY, tenant int NOT NULL, id int NOT NULL, name int, UNIQUE (tenant, id))';
  const warnings = async (from: string): Promise<string[]> => {
    const set = `{ key: { from: ${from}, steps: [{ uuid5: { namespace: url, sep: "/" } }] } }`;
    const tables = `  - { from: public.a, columns: { tenant: tenant, id: id, name: name }, set: ${set} }\n`;
    return told((await compile({ source, target, tables })).findings).map((one) => one.replace(/^\S+ warning CF-4001 /, ''));
  };
  expect(await warnings('[tenant, id]')).toEqual([]);
  expect(await warnings('[id]')).toEqual([
    'the primary key of public.a is computed without "tenant": a second row with the same key would be refused',
  ]);
  expect(await warnings('[tenant, id, name]')).toEqual([
    'the primary key of public.a is computed from "name" too: it changes with it, and what refers to it does not',
  ]);
  const bare = target.replace(', UNIQUE (tenant, id)', '');
  const tables = `  - { from: public.a, columns: { tenant: tenant, id: id }, set: { key: { from: [tenant, id], steps: [{ uuid5: url }] } } }\n`;
  const { findings } = await compile({ source, target: bare, tables });
  expect(findings.map(({ remedy }) => remedy)).toEqual(['Run on the target: CREATE UNIQUE INDEX ON "public"."a" ("tenant", "id");']);
});

test('the namespace is a UUID or one of the four that the RFC names', () => {
  const head = 'crossfade: 1\nname: t\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\ntables:\n';
  const text = `${head}  - { from: public.a, set: { key: { from: id, steps: [{ uuid5: dn }] } } }\n`;
  expect(told(readMigrationFile({ path: 'm.yaml', text, env: {} }).findings)).toEqual([
    '6:64 CF-1004 "tables[0].set.key.steps[0].uuid5": expected a UUID, dns, url, oid or x500',
  ]);
});
