/** What `init` writes for Chinook and Pagila runs as written, also into a target where every table and column is spelt otherwise. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CHINOOK, hasSample, loadSample, loadSampleEmpty, PAGILA, type SampleDatabase, tablesOf } from '#test/prove/sample-databases.ts';
import { execute } from '#test/support/application.ts';
import { type CommandRun, envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';

interface Spelling {
  readonly schema: string;
  readonly table: (name: string) => string;
  readonly column: (name: string) => string;
}

const camel = (name: string): string => name.replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
const pascal = (name: string): string => camel(`_${name}`);
const plural = (name: string): string => (name.endsWith('y') ? `${name.slice(0, -1)}ies` : `${name}${name.endsWith('s') ? 'es' : 's'}`);

const CASES: readonly { readonly sample: SampleDatabase; readonly spelling: Spelling }[] = [
  { sample: CHINOOK, spelling: { schema: 'public', table: (name) => pascal(plural(name)), column: pascal } },
  { sample: PAGILA, spelling: { schema: 'rentals', table: plural, column: camel } },
];

async function respell(url: string, { schema, table, column }: Spelling): Promise<void> {
  const columns = await execute(
    url,
    `SELECT c.relname AS table, a.attname AS column FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0 AND NOT attisdropped`,
  );
  const renamed = columns.filter(({ column: name = '' }) => column(name ?? '') !== name);
  await execute(
    url,
    ...renamed.map((row) => `ALTER TABLE public."${row['table']}" RENAME "${row['column']}" TO "${column(row['column'] ?? '')}"`),
  );
  for (const name of await tablesOf(url)) await execute(url, `ALTER TABLE public."${name}" RENAME TO "${table(name)}"`);
  if (schema === 'public') return;
  await execute(url, `CREATE SCHEMA ${schema}`);
  for (const name of await tablesOf(url)) await execute(url, `ALTER TABLE public."${name}" SET SCHEMA ${schema}`);
}

interface Stage extends AsyncDisposable {
  readonly tables: number;
  readonly file: string;
  run(...args: readonly string[]): Promise<CommandRun>;
}

async function openStage(sample: SampleDatabase, spelling?: Spelling): Promise<Stage> {
  const [source, target] = [await freshDatabase(18), await freshDatabase(18)];
  await loadSample(source.url, sample);
  await loadSampleEmpty(target.url, sample);
  await execute(source.url, 'ANALYZE');
  if (spelling !== undefined) await respell(target.url, spelling);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-init-'));
  const environment = { SOURCE_URL: source.url, TARGET_URL: target.url };
  const run = async (...args: readonly string[]): Promise<CommandRun> => runInProcess([...args, '--json'], { directory, environment });
  const name = `init_${sample.name}_${process.pid}_${source.name}`;
  const written = await run('init', '--source', source.url, '--target', target.url, '--name', name);
  expect(written.exitCode, written.stdout).toBe(0);
  expect(envelopeOf(written).result).toMatchObject({ questions: 0 });
  return {
    tables: (await tablesOf(source.url)).length,
    file: readFileSync(join(directory, 'migration.yaml'), 'utf8'),
    run,
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
    },
  };
}

function expectReady(check: CommandRun, tables: number): void {
  expect(check.exitCode, check.stdout).toBe(0);
  expect(envelopeOf(check).findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect((envelopeOf(check).result as { readonly tables: readonly unknown[] }).tables).toHaveLength(tables);
}

describe.for(CASES)('init on $sample.name', ({ sample, spelling }) => {
  const needs = hasSample(sample) ? '' : ' (needs ../shared/data)';

  test.skipIf(needs !== '')(`onto the same schema gives a file that check finds ready, without a question${needs}`, async () => {
    await using stage = await openStage(sample);
    expectReady(await stage.run('check'), stage.tables);
    expect(stage.file).toContain('PII?');
  });

  test.skipIf(needs !== '')(
    `onto a target that is spelt otherwise gives a file that runs as written, and verify is clean${needs}`,
    { timeout: 240_000 },
    async () => {
      await using stage = await openStage(sample, spelling);
      expectReady(await stage.run('check'), stage.tables);
      const up = await stage.run('up', '--port', '0', '--until', 'caught-up');
      expect(up.exitCode, up.stdout + up.stderr).toBe(0);
      const verified = await stage.run('verify');
      expect(verified.exitCode, verified.stdout).toBe(0);
      const result = envelopeOf(verified).result as { readonly differences: number; readonly tables: readonly { rowsTarget: number }[] };
      expect(result).toMatchObject({ differences: 0, inconclusive: 0 });
      expect(result.tables).toHaveLength(stage.tables);
      expect(result.tables.every(({ rowsTarget }) => rowsTarget > 0)).toBe(true);
    },
  );
});
