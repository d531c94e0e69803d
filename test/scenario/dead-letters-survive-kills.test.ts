import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { readAll } from '#test/support/log-records.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const WAIT = { timeout: 60_000, interval: 100 };
const LONG_MS = 180_000;

test.for(['sink.applied:4', 'sink.commit:4', 'sink.committed:4', 'dlq.published'])(
  'a SIGKILL at %s sets every row aside once, and each is published',
  { timeout: LONG_MS },
  async (failpoint) => {
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-dlq-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
    await writeFile(
      file,
      `crossfade: 1\nname: kills\nsource: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\nheartbeatSeconds: 1\n` +
        `tables:\n  - { from: public.*, onRowError: set-aside }\n`,
    );
    await execute(from.url, 'CREATE TABLE a (id int PRIMARY KEY, v int)', 'INSERT INTO a SELECT g, g FROM generate_series(1, 3000) g');
    await execute(to.url, 'CREATE TABLE a (id int PRIMARY KEY, v int CONSTRAINT odd CHECK (v % 1000 <> 0))');
    const start = (env: Record<string, string>): Pipeline =>
      stack.use(Pipeline.start({ file, dataDir, logFile: join(directory, 'up.log'), env }));
    const first = start({ CROSSFADE_TEST_FAILPOINT: failpoint });
    const write = async (v: number): Promise<unknown> => execute(from.url, `UPDATE a SET v = ${v} WHERE id IN (1, 2, 1000)`);
    const writing = (async () => {
      for (let i = 1; first.result === undefined; i++) await write(i * 7000);
    })();
    expect(await first.ended(), first.logTail(20)).toMatchObject({ signal: 'SIGKILL' });
    await writing;
    const second = start({});
    await second.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
    await write(14_000);
    const open = `SELECT id, key::text AS key FROM crossfade.blocked WHERE published ORDER BY (key->>0)::int`;
    await vi.waitFor(async () => {
      const rows = await execute(to.url, open);
      expect(rows.map(({ key }) => key)).toEqual(['["1"]', '["2"]', '["1000"]', '["2000"]', '["3000"]']);
    }, WAIT);
    const ids = (await execute(to.url, open)).map(({ id }) => id);
    expect(await execute(to.url, 'SELECT count(*) AS rows FROM a WHERE id > 2')).toEqual([{ rows: '2995' }]);
    await execute(to.url, 'ALTER TABLE a DROP CONSTRAINT odd');
    const retried = await runCommand(['dlq', 'retry', '--all'], { file, dataDir });
    expect(retried.code, explain(retried)).toBe(0);
    const verified = await runCommand<VerifyResult>(['verify'], { file, dataDir });
    expect(verified.code, explain(verified)).toBe(0);
    expect(await second.stop()).toEqual({ code: 0, signal: null });
    await using log = Object.assign(await openEmbeddedLog({ directory: join(dataDir, 'log') }), {
      [Symbol.asyncDispose]: () => log.close(),
    });
    const records = (await readAll(await log.topic('dlq', { partitions: 1 }))).map(
      (text) => JSON.parse(text) as { headers: Record<string, string> },
    );
    const published = new Set(records.map(({ headers }) => headers['crossfade.id']));
    expect(ids.filter((id) => !published.has(id!))).toEqual([]);
    expect(records[0]?.headers).toMatchObject({ '__connect.errors.topic': 'raw', '__connect.errors.stage': 'TASK_PUT' });
  },
);
