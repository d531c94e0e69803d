/** The published helper, as a user's own tests would import it. */
import { mkdtemp, readFile, symlink, mkdir, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { mappingOf, type MappingFunction } from 'crossfade/testing';
import { renderCatalogues } from '#schemas/config/catalogue-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { catalogOf } from '#test/support/compile.ts';

const FILE = `crossfade: 1
name: people
source: { postgres: "\${SOURCE_URL}" }
target: { postgres: "postgres://me:\${PASSWORD}@new/people" }
tables:
  - from: public.person
    to: public.customer
    columns: { id: customer_id }
    where: { tenant: 7 }
    drop: [tenant]
    set:
      name: { from: [first, last], steps: [{ concat: " " }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] }
      flags: { from: bits, steps: [{ call: "./functions.mjs#flags" }] }
`;

let directory: string;
let map: MappingFunction;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'crossfade-mapping-of-'));
  await writeFile(join(directory, 'functions.mjs'), 'export const flags = (row) => (row.bits === null ? null : row.bits.toString(2));\n');
  await writeFile(join(directory, 'migration.yaml'), FILE);
  const { file } = readMigrationFile({ path: 'm', text: FILE, env: {}, offline: true });
  const source = await catalogOf(
    'CREATE TABLE person (id integer PRIMARY KEY, first text, last text, cents integer, bits integer, tenant integer); ALTER TABLE person REPLICA IDENTITY FULL',
  );
  const target = await catalogOf('CREATE TABLE customer (customer_id bigint PRIMARY KEY, name text, balance numeric(12,3), flags text)');
  await writeFile(join(directory, 'migration.catalogue.json'), renderCatalogues(file!, { source, target }));
  map = await mappingOf('migration.yaml', { directory, env: {} });
});

test('a file that is not in UTF-8 is refused with its line, be it the mapping or its functions: a filter of other characters lets no row through', async () => {
  const latin = join(directory, 'latin.yaml');
  await writeFile(latin, Buffer.from(FILE.replace('tenant: 7', "first: 'Zoë'"), 'latin1'));
  await expect(mappingOf(latin, { directory, env: {} })).rejects.toMatchObject({ code: 'CF-1002', place: { path: latin, line: 9 } });
  await writeFile(join(directory, 'latin.mjs'), Buffer.from("export const flags = () => 'ë';\n", 'latin1'));
  await writeFile(join(directory, 'calls.yaml'), FILE.replace('functions.mjs', 'latin.mjs'));
  await expect(mappingOf('calls.yaml', { directory, env: {} })).rejects.toThrow('it is not in UTF-8, first in line 1');
});

test('what is no number refuses the row, though numeric and text would take it', async () => {
  await writeFile(join(directory, 'numbers.mjs'), 'export const flags = ({ bits }) => Number(bits) / 0;\n');
  await writeFile(join(directory, 'numbers.yaml'), FILE.replace('functions.mjs', 'numbers.mjs'));
  await writeFile(join(directory, 'numbers.catalogue.json'), await readFile(join(directory, 'migration.catalogue.json')));
  const numbers = await mappingOf('numbers.yaml', { directory, env: {} });
  for (const [bits, told] of [
    [0n, 'NaN'],
    [1n, 'Infinity'],
  ] as const)
    expect(() => numbers('public.person', { id: 1, bits, tenant: 7 })).toThrow(`the function gave back ${told}`);
});

test('a row gives its target rows, as PostgreSQL prints them', () => {
  expect(map('public.person', { id: 1, first: 'Ada', last: 'Lovelace', cents: 1250n, bits: 5, tenant: 7 })).toEqual([
    { to: 'public.customer', row: { customer_id: '1', name: 'Ada Lovelace', balance: '12.500', flags: '101' } },
  ]);
  expect(map('public.person', { id: 1, tenant: 8 })).toEqual([]);
});

test('a target row gives back what the mapping keeps, and what is lost is listed', () => {
  const up = map('public.person', { id: 1, first: 'Ada', cents: -7, tenant: 7 });
  expect(map.back('public.person', up)).toEqual({ id: '1', cents: '-7', tenant: '7' });
  expect(map.lost('public.person').map(({ column }) => column)).toEqual(['first', 'last', 'bits']);
});

test('a table, a column or a value that is not there is told with the nearest name', () => {
  expect(() => map('public.persons', {})).toThrow('did you mean "public.person"?');
  expect(() => map('public.person', { frist: 'x' })).toThrow('did you mean "first"?');
  expect(() => map('public.person', { cents: 'x' })).toThrow('"x" is no integer ("cents")');
});

test('a package that has crossfade among its dependencies finds it by that name', async () => {
  await mkdir(join(directory, 'node_modules'));
  await symlink(join(import.meta.dirname, '..', '..', '..', '..'), join(directory, 'node_modules', 'crossfade'));
  const program = `import { mappingOf } from 'crossfade/testing';
    const map = await mappingOf('migration.yaml');
    console.log(JSON.stringify(map('public.person', { id: 2, last: 'X', tenant: 7 })));`;
  await writeFile(join(directory, 'own.mjs'), program);
  const { stdout } = await promisify(execFile)(process.execPath, ['own.mjs'], { cwd: directory });
  expect(JSON.parse(stdout)).toEqual([{ to: 'public.customer', row: { customer_id: '2', name: 'X', balance: null, flags: null } }]);
});
