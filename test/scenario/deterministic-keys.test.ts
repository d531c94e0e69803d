import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { UUID_EXPECTED, UUID_FOUND, UUID_SOURCE, UUID_TABLES, UUID_TARGET, uuidChanges } from '#test/support/uuid-tables.ts';
import { startInstance } from '#test/support/running-instance.ts';

const LONG_MS = 180_000;
test(
  'rows keep their UUIDs and what refers to them, under load and through a SIGKILL; a lost row is repaired by its old key',
  { timeout: LONG_MS },
  async () => {
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-uuid-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
    const head = `crossfade: 1\nname: uuids\nsource: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\nheartbeatSeconds: 1\n`;
    await writeFile(file, head + UUID_TABLES);
    await execute(from.url, UUID_SOURCE);
    await execute(to.url, UUID_TARGET);
    const start = (env: Record<string, string>): Pipeline =>
      stack.use(Pipeline.start({ file, dataDir, logFile: join(directory, 'up.log'), env }));
    let round = 0;
    const write = (): Promise<unknown> => execute(from.url, ...uuidChanges(round++));
    const first = start({ CROSSFADE_TEST_FAILPOINT: 'sink.applied:5' });
    while (first.result === undefined) await write();
    expect(await first.ended(), first.logTail(20)).toMatchObject({ signal: 'SIGKILL' });
    const second = start({});
    await second.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
    const verifying = runCommand<VerifyResult>(['verify'], { file, dataDir });
    for (let i = 0; i < 20; i++) await write();
    const verified = await verifying;
    expect(verified.code, explain(verified)).toBe(0);
    expect(await runCommand(['verify'], { file, dataDir })).toMatchObject({ code: 0 });
    for (const [i, sql] of UUID_FOUND.entries()) expect(await execute(to.url, sql)).toEqual(await execute(from.url, UUID_EXPECTED[i]!));

    await execute(
      to.url,
      `DELETE FROM bill WHERE legacy_id = 77 AND tenant = 'acme'; UPDATE client SET id = gen_random_uuid() WHERE legacy_id = 1999`,
    );
    await execute(from.url, `INSERT INTO customer VALUES ('acme', 20000, 'x')`);
    await execute(to.url, `UPDATE client SET tenant = 'nobody' WHERE (tenant, legacy_id) = ('acme', 2)`);
    const drifted = await runCommand<VerifyResult>(['verify'], { file, dataDir });
    expect(drifted.code, explain(drifted)).toBe(11);
    const repaired = await runCommand<VerifyResult>(['repair'], { file, dataDir });
    expect(repaired.code, explain(repaired)).toBe(0);
    for (const [i, sql] of UUID_FOUND.entries()) expect(await execute(to.url, sql)).toEqual(await execute(from.url, UUID_EXPECTED[i]!));
    expect(await second.stop()).toEqual({ code: 0, signal: null });
  },
);

const WAIT = { timeout: 30_000, interval: 50 };

test('two rows that meet in one computed key: the second is refused and the first stays', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  await execute(from.url, 'CREATE TABLE a (id int PRIMARY KEY, name text)', `INSERT INTO a VALUES (1, 'one')`);
  await execute(to.url, 'CREATE TABLE a (key uuid PRIMARY KEY, id int NOT NULL UNIQUE, name text)');
  const rest = `heartbeatSeconds: 1\ntables:\n  - { from: public.a, onRowError: set-aside, set: { key: { from: name, steps: [lower, { uuid5: dns }] } } }\n`;
  await using instance = await startInstance({ source: from.url, target: to.url, rest });
  await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
  await execute(from.url, `INSERT INTO a VALUES (2, 'ONE'), (3, 'three')`);
  const blocked = `SELECT key::text AS key FROM crossfade.blocked`;
  await vi.waitFor(async () => expect(await execute(to.url, blocked)).toEqual([{ key: '["2"]' }]), WAIT);
  await vi.waitFor(async () => expect(await execute(to.url, 'SELECT id, name FROM a ORDER BY id')).toHaveLength(2), WAIT);
  await execute(from.url, `UPDATE a SET name = 'two' WHERE id = 1`, `UPDATE a SET name = 'other' WHERE id = 3`);
  await vi.waitFor(
    async () =>
      expect(await execute(to.url, 'SELECT id, name FROM a ORDER BY id')).toEqual([
        { id: '1', name: 'two' },
        { id: '3', name: 'other' },
      ]),
    WAIT,
  );
});
