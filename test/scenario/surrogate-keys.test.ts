import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { runShape } from '#test/support/shape-run.ts';
import { SURROGATE, SURROGATE_ORPHANS } from '#test/support/surrogate-tables.ts';

const LONG_MS = 360_000;

test(
  'rows get new keys, and all that refers to them: under a writer, through SIGKILLs; drift is found and repaired',
  { timeout: LONG_MS },
  async () => {
    await runShape(SURROGATE, async ({ targetUrl, verify, command }) => {
      expect(await execute(targetUrl, SURROGATE_ORPHANS)).toEqual([]);
      await execute(
        targetUrl,
        `UPDATE client SET name = 'wrong' WHERE legacy = 1000`,
        `UPDATE bill SET client = (SELECT min(id) FROM client) WHERE id = (SELECT id FROM bill WHERE client = (SELECT id FROM client WHERE legacy = 1500) LIMIT 1)`,
        `SET session_replication_role = replica; UPDATE client SET referred_by = 999999 WHERE legacy = 1400 AND referred_by IS NOT NULL`,
        `DELETE FROM login WHERE id = 77`,
      );
      const drifted = await verify();
      expect(drifted.result.tables.map(({ to, missing, different, extra }) => [to, missing, different, extra])).toEqual([
        ['public.land', 0, 0, 0],
        ['public.client', 0, 2, 0],
        ['public.bill', 0, 1, 0],
        ['public.bill_line', 0, 0, 0],
        ['public.login', 1, 0, 0],
      ]);
      expect(drifted.text).toMatch(/referred_by|client/);
      expect(await command('repair')).toBe(0);
      expect((await verify()).result.differences).toBe(0);
    });
  },
);

test('the same between servers of 14', { timeout: LONG_MS }, async () => {
  await runShape({ ...SURROGATE, version: 14 });
});

test('a row under an id of nobody is extra, and gone after a repair', { timeout: LONG_MS }, async () => {
  await using from = await freshDatabase();
  await using to = await freshDatabase();
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-nobody-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const run = { file: join(directory, 'm.yaml'), dataDir: join(directory, 'data') };
  const head = `crossfade: 1\nname: nobody\nsource: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\n`;
  await writeFile(run.file, `${head}tables:\n  - { from: public.a, key: { surrogate: id } }\n  - { from: public.b }\n`);
  await execute(
    from.url,
    `CREATE TABLE a (k text PRIMARY KEY, v text); INSERT INTO a VALUES ('one', '1'), ('two', '2')`,
    `CREATE TABLE b (n int PRIMARY KEY, a text REFERENCES a); INSERT INTO b VALUES (1, 'two')`,
  );
  await execute(
    to.url,
    'CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE TABLE b (n int PRIMARY KEY, a bigint REFERENCES a)',
  );
  const pipeline = stack.use(Pipeline.start({ ...run, logFile: join(directory, 'up.log'), env: {} }));
  await pipeline.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  const before = await execute(to.url, 'SELECT id, v FROM a ORDER BY id');
  await execute(to.url, `INSERT INTO a (v) VALUES ('nobody')`);
  const drifted = await runCommand<VerifyResult>(['verify'], run);
  expect(drifted.envelope!.result!.tables[0]).toMatchObject({ extra: 1, sample: [{ key: { id: 'no key has the id 3' }, kind: 'extra' }] });
  const repaired = await runCommand<VerifyResult>(['repair'], run);
  expect(repaired.code, explain(repaired)).toBe(0);
  expect(await execute(to.url, 'SELECT id, v FROM a ORDER BY id')).toEqual(before);
});
