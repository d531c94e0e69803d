import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 30_000, interval: 50 };

test('rows that the file keeps are no differences and counted; one that lives on one side only is, and repair goes by the file', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  await using stack = new AsyncDisposableStack();
  const [source, target] = [from.url, to.url];
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-kept-verify-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
  const tables = ['marked', 'timed', 'kept', 'stays', 'plain'].map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, v text)`);
  const rows = (name: string): string => `INSERT INTO ${name} SELECT g, md5(g::text) FROM generate_series(1, 300) g`;
  await execute(source, ...tables, ...['marked', 'timed', 'kept', 'stays', 'plain'].map(rows));
  await execute(target, ...tables, 'ALTER TABLE marked ADD gone boolean', 'ALTER TABLE timed ADD gone_at timestamptz');
  const rest = `heartbeatSeconds: 1\ntables:\n  - from: public.*
  - { from: public.marked, deletes: { soft: { column: gone } } }
  - { from: public.timed, deletes: { soft: { at: gone_at } } }
  - { from: public.kept, deletes: ignore }
  - { from: public.stays, truncates: ignore }\n`;
  await writeFile(file, `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\n${rest}`);
  const instance = stack.use(await startInstance({ source, target, rest }, dataDir));
  await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
  const run = async (
    ...args: readonly string[]
  ): Promise<{ readonly exitCode: number; readonly result: unknown; readonly out: string }> => {
    const done = await runInProcess([...args, '--json', '-f', file, '--data', dataDir]);
    return { exitCode: done.exitCode, result: envelopeOf(done).result, out: done.stdout };
  };
  for (const name of ['marked', 'timed', 'kept', 'plain']) await execute(source, `DELETE FROM ${name} WHERE id % 30 = 0`);
  await execute(source, 'TRUNCATE stays', 'INSERT INTO stays VALUES (5, NULL), (500, NULL)');
  const clean = await run('verify');
  expect(clean.exitCode, clean.out).toBe(0);
  expect(clean.result).toMatchObject({
    tables: [
      { to: 'public.kept', rowsSource: 290, rowsTarget: 300, kept: 10 },
      { to: 'public.marked', rowsSource: 290, rowsTarget: 290, softlyDeleted: 10 },
      { to: 'public.plain', rowsSource: 290, rowsTarget: 290 },
      { to: 'public.stays', rowsSource: 2, rowsTarget: 301, kept: 299 },
      { to: 'public.timed', rowsSource: 290, rowsTarget: 290, softlyDeleted: 10 },
    ],
  });
  await execute(
    target,
    'UPDATE marked SET gone = NOT gone WHERE id IN (30, 31, 60)',
    `UPDATE timed SET gone_at = CASE WHEN gone_at IS NULL THEN now() END, v = 'x' WHERE id IN (60, 61)`,
    'DELETE FROM kept WHERE id IN (7, 30)',
    `UPDATE stays SET v = 'x' WHERE id = 500`,
  );
  const drifted = await run('verify');
  expect(drifted.exitCode, drifted.out).toBe(11);
  expect(drifted.result).toMatchObject({
    tables: [
      { missing: 1, extra: 0, different: 0, kept: 9 },
      { missing: 1, extra: 2, different: 0, softlyDeleted: 9 },
      { missing: 0, extra: 0, different: 0 },
      { missing: 0, extra: 0, different: 1 },
      { missing: 1, extra: 1, different: 0 },
    ],
  });
  expect(await run('repair')).toMatchObject({ exitCode: 0 });
  expect(await execute(target, 'SELECT id FROM marked WHERE gone ORDER BY id')).toHaveLength(10);
  expect(await execute(target, 'SELECT id, v FROM timed WHERE gone_at IS NOT NULL AND id IN (60, 61)')).toEqual([{ id: '60', v: 'x' }]);
  expect(await execute(target, 'SELECT id FROM kept WHERE id IN (7, 30, 60) ORDER BY id')).toEqual([{ id: '7' }, { id: '60' }]);
  await instance.stop();
});
