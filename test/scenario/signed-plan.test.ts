/** What was signed is what runs: commands that are bound to a plan's hash. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { execute } from '#test/support/application.ts';
import { type CommandRun, envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { startPostgres } from '#test/support/postgres.ts';

const TIMEOUT_MS = 180_000;
const DDL = 'CREATE TABLE public.a (id int PRIMARY KEY, note text)';

test('up runs under the plan that was signed, and refuses when file or databases give another one', { timeout: TIMEOUT_MS }, async () => {
  await using server = await startPostgres({ version: 18, settings: { wal_level: 'logical' } });
  const target = await server.createDatabase('target');
  const source = await server.createDatabase('source');
  await execute(source, DDL, `INSERT INTO a VALUES (1, 'one')`);
  await execute(target, DDL);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-signed-'));
  const write = (columns: string): void =>
    writeFileSync(
      join(directory, 'migration.yaml'),
      `crossfade: 1\nname: shop\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\ntables:\n  - { from: public.a${columns} }\n`,
    );
  const run = async (args: readonly string[], environment: Record<string, string> = {}): Promise<CommandRun> =>
    runInProcess(args, { directory, environment });
  const up = async (args: readonly string[], environment: Record<string, string> = {}): Promise<CommandRun> =>
    run(['up', '--until', 'caught-up', '--port', '0', '--json', ...args], environment);
  const planOf = async (): Promise<StatusResult['plan']> => (envelopeOf(await run(['status', '--json'])).result as StatusResult).plan;

  write('');
  expect((await run(['plan', '--format', 'json', '--out', 'plan.json'])).exitCode).toBe(0);
  const { hash } = JSON.parse(readFileSync(join(directory, 'plan.json'), 'utf8')) as PlanDocument;

  // Nothing is made anywhere when the plan is another one.
  const other = await up(['--plan', '0'.repeat(64)]);
  expect(other.exitCode).toBe(10);
  expect(envelopeOf(other).error).toMatchObject({ code: 'CF-4006', message: expect.stringContaining(hash) as string });
  expect(await execute(target, `SELECT to_regclass('crossfade.progress') AS t`)).toEqual([{ t: null }]);
  expect((await up(['--plan', 'signed'])).exitCode).toBe(2);

  // Without a hash it runs, and says under what.
  expect((await up([])).exitCode).toBe(0);
  expect(await planOf()).toMatchObject({ hash, signed: false, changed: false });
  expect((await up(['--plan', 'plan.json'])).exitCode).toBe(0);
  expect(await planOf()).toMatchObject({ hash, signed: true, changed: false });

  // The file changed. Once signed, it needs no option to be refused.
  write(', set: { note: { from: note, steps: [upper] } }');
  expect(await planOf()).toMatchObject({ hash, signed: true, changed: true });
  const changed = envelopeOf(await up(['--plan', 'plan.json']));
  expect(changed.error).toMatchObject({ code: 'CF-4006' });
  expect(changed.findings.map(({ message }) => message)).toContainEqual(
    expect.stringContaining('public.a → public.a: "note" is note (text)'),
  );
  const unsigned = await up([]);
  expect(unsigned.exitCode).toBe(10);
  expect(envelopeOf(unsigned).error?.message).toContain('crossfade.plan');
  expect((await run(['verify', '--plan', hash, '--json'])).exitCode).toBe(10);

  // The new one is signed, by the environment this time.
  const now = envelopeOf(await run(['plan', '--json', '--against', 'plan.json'])).result as PlanDocument & { changes: string[] };
  expect(now.changes).toHaveLength(1);
  expect((await up([], { CROSSFADE_PLAN: now.hash })).exitCode).toBe(0);
  expect(await planOf()).toMatchObject({ hash: now.hash, signed: true, changed: false });

  // A type of the target changes beneath it: a restart is refused, and nothing is taken from what is there.
  await execute(target, 'ALTER TABLE a ALTER note TYPE varchar(40)');
  expect((await up([])).exitCode).toBe(10);
  expect((await run(['status'])).stdout).toContain('give another one now');
  expect(await execute(target, 'SELECT signed::text, hash FROM crossfade.plan ORDER BY id')).toEqual([
    { signed: 'false', hash },
    { signed: 'true', hash },
    { signed: 'true', hash: now.hash },
  ]);
});
