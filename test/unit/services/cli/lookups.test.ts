import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { rowFunction } from '#schemas/mapping/steps/table-steps.ts';
import { withLookups } from '#services/cli/lookups.ts';
import { withFunctions } from '#services/cli/user-functions.ts';
import { catalogOf, fileOf, told } from '#test/support/compile.ts';

const SQL = 'CREATE TABLE t (id int PRIMARY KEY, land char(3))';

/** The mapping of `land` by a lookup with this block, beside files with these texts. */
async function compiled(block: string, files: Readonly<Record<string, string | Buffer>>): Promise<CompiledMapping> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-lookup-'));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    const file = fileOf(`  - from: public.t\n    set: { land: { from: land, steps: [{ lookup: ${block} }] } }\n`);
    const loaded = await withLookups(file, join(directory, 'm.yaml'));
    const { mapping, findings } = compileMapping(loaded, await catalogOf(SQL), await catalogOf(SQL.replace('char(3)', 'text')));
    expect(told(findings)).toEqual([]);
    return mapping!;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function lookedUp({ tables }: CompiledMapping, value: string | null): unknown {
  const into: (string | null | undefined)[] = [];
  const refusal = rowFunction(tables[0]!.steps!).compute([value], into);
  return refusal === undefined ? into[0] : 'refused';
}

const CSV = 'code,name\nDE,Germany\nFR,France\n';

test.each([
  ['fail', 'refused'],
  ['keep', 'XX '],
  ['null', null],
  ['{ value: elsewhere }', 'elsewhere'],
])('a value that is not there, onMiss: %s', async (onMiss, becomes) => {
  const mapping = await compiled(`{ file: ./lands.csv, key: code, value: name, onMiss: ${onMiss} }`, { 'lands.csv': CSV });
  expect(lookedUp(mapping, 'DE ')).toBe('Germany');
  expect(lookedUp(mapping, 'XX ')).toBe(becomes);
  expect(lookedUp(mapping, null)).toBe(null);
});

test('another content is another mapping', async () => {
  const block = '{ file: ./lands.csv, key: code, value: name }';
  const { hash } = await compiled(block, { 'lands.csv': CSV });
  expect((await compiled(block, { 'lands.csv': CSV })).hash).toBe(hash);
  expect((await compiled(block, { 'lands.csv': CSV.replace('France', 'Frankreich') })).hash).not.toBe(hash);
});

test('files and functions that only the way back asks are loaded, too', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'cf-lookup-'));
  await writeFile(join(directory, 'lands.csv'), CSV);
  await writeFile(join(directory, 'f.mjs'), 'export const code = ({ land }) => land;\n');
  const back = (step: string): MigrationFile =>
    fileOf(
      `  - from: public.t\n    set: { land: { from: land, steps: [upper] } }\n    reverse: { set: { land: { from: land, steps: [${step}] } } }\n`,
    );
  const [source, target] = [await catalogOf(SQL), await catalogOf(SQL.replace('char(3)', 'text'))];
  for (const step of ['{ lookup: { file: ./lands.csv, key: name, value: code } }', '{ call: "./f.mjs#code" }']) {
    const path = join(directory, 'm.yaml');
    const file = await withLookups(await withFunctions(back(step), path), path);
    const { mapping } = compileMapping(file, source, target);
    const { tables } = deriveReverse(file, mapping!, { source, target });
    expect(tables).toMatchObject([{ from: 'public.t', kind: 'reversible' }]);
  }
  await rm(directory, { recursive: true, force: true });
});

test('a file that is not there, or is wrong, is told with its place', async () => {
  await expect(compiled('{ file: none.json }', {})).rejects.toMatchObject({ code: 'CF-1002' });
  const wrong = compiled('{ file: a.csv, key: code, value: title }', { 'a.csv': CSV });
  await expect(wrong).rejects.toMatchObject({ code: 'CF-1004', message: 'a.csv: row 1 has no column "title"' });
  const latin = compiled('{ file: a.csv, key: code, value: name }', { 'a.csv': Buffer.from('code,name\nDE,Österreich\n', 'latin1') });
  await expect(latin).rejects.toMatchObject({ code: 'CF-1004', message: 'a.csv: it is not in UTF-8' });
});
