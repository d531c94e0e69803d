/** Several targets of one migration: one that joins a log which was cut, one that is lost, and what the commands tell. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { encodeJsonFrame, FRAME, type TableStateFrame } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { readInstance } from '#services/runtime/instance-file.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { runUp } from '#services/up/up.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase, startPostgres } from '#test/support/postgres.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { redisHashes, sourceRows } from '#test/support/redis/rows.ts';
import { startRedis } from '#test/support/redis/server.ts';

const WAIT = { timeout: 60_000, interval: 50 };
const SOURCE = [
  'CREATE TABLE account (id int PRIMARY KEY, owner text, region int REFERENCES account)',
  'CREATE TABLE item (id int PRIMARY KEY, note text)',
  `INSERT INTO account SELECT g, 'o' || g, NULL FROM generate_series(1, 300) g`,
  `INSERT INTO item SELECT g, repeat('x', 1000) FROM generate_series(1, 500) g`,
];
const TARGET = ['CREATE TABLE account (id int PRIMARY KEY, owner text, region int)', 'CREATE TABLE item (id int PRIMARY KEY, note text)'];

interface Stage extends AsyncDisposable {
  readonly path: string;
  readonly dataDir: string;
  /** Runs `up` in this process with these targets. */
  start(targets: Readonly<Record<string, string>>, options?: Started): Running;
  run(...args: string[]): Promise<ReturnType<typeof envelopeOf> & { readonly exitCode: number }>;
}

interface Started {
  readonly until?: 'caught-up';
  /** Absent: both tables, to every target. */
  readonly tables?: string;
}

interface Running {
  status(): StatusResult | undefined;
  readonly ended: ReturnType<typeof runUp>;
  stop(): Promise<void>;
  metrics(): Promise<string>;
}

async function stage(source: string): Promise<Stage> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-several-'));
  const [path, dataDir] = [join(directory, 'migration.yaml'), join(directory, 'data')];
  return {
    path,
    dataDir,
    start: (targets, { until, tables } = {}) => {
      const names = Object.keys(targets);
      const entries = tables ?? names.flatMap((name) => ['account', 'item'].map((table) => entry(table, name))).join('');
      const addresses = names.map((name) => `  ${name}: { ${kindOf(targets[name])}: "${targets[name]}" }\n`).join('');
      const head = `crossfade: 1\nname: several\nsource: { postgres: "${source}" }\nheartbeatSeconds: 1\nlog: { retainBytes: 1 }\n`;
      return startUp({ path, dataDir, text: `${head}targets:\n${addresses}tables:\n${entries}`, until });
    },
    run: async (...args) => {
      const ran = await runInProcess([...args, '--data', dataDir, '--json'], { directory, environment: {} });
      return { ...envelopeOf(ran), exitCode: ran.exitCode };
    },
    [Symbol.asyncDispose]: async () => rm(directory, { recursive: true, force: true }),
  };
}

function kindOf(url = ''): string {
  return url.startsWith('redis:') ? 'redis' : 'postgres';
}

function entry(table: string, target: string): string {
  return `  - { from: public.${table}, target: ${target} }\n`;
}

interface UpText {
  readonly path: string;
  readonly dataDir: string;
  readonly text: string;
  readonly until: 'caught-up' | undefined;
}

function startUp({ path, dataDir, text, until }: UpText): Running {
  const { file, findings } = readMigrationFile({ path, text, env: {} });
  if (file === undefined) throw new Error(findings.map(({ message }) => message).join('; '));
  const stop = new AbortController();
  let last: StatusResult | undefined;
  const ended = writeFile(path, text).then(async () =>
    runUp({
      file,
      dataDir,
      host: '127.0.0.1',
      port: 0,
      signal: stop.signal,
      logger: silentLogger,
      environment: {},
      onProgress: (status) => (last = status),
      ...(until !== undefined && { until }),
    }),
  );
  ended.catch(() => undefined);
  return {
    status: () => last,
    ended,
    stop: async () => {
      stop.abort();
      await ended;
    },
    metrics: async () => (await fetch(new URL('/metrics', (await readInstance(dataDir))!.url))).text(),
  };
}

async function expectEqual(source: string, ...targets: string[]): Promise<void> {
  for (const query of ['SELECT * FROM account ORDER BY id', 'SELECT id, md5(note) AS note FROM item ORDER BY id'])
    for (const target of targets) expect(await execute(target, query)).toEqual(await execute(source, query));
}

/** A segment of its own for what comes next: those of real life are too large for a test. @returns its first offset */
async function beginSegment(dataDir: string): Promise<number> {
  const log = await openEmbeddedLog({ directory: join(dataDir, 'log'), segmentBytes: 1 });
  const raw = await log.topic('raw', { partitions: 1 });
  const frame = encodeJsonFrame(FRAME.tableState, { schema: 'none', table: 'none', state: 'following' } satisfies TableStateFrame);
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(frame.length);
  const { baseOffset: offset } = await raw.append(0, { count: 1, parts: [prefix, frame] });
  await log.close();
  return offset;
}

/** As `up` does when the log has grown. */
async function cutLog(dataDir: string, below: number): Promise<void> {
  const log = await openEmbeddedLog({ directory: join(dataDir, 'log') });
  const raw = await log.topic('raw', { partitions: 1 });
  await raw.trim(0, below);
  expect(raw.start(0)).toBeGreaterThan(0);
  await log.close();
}

afterEach(() => installTestHooks({}));

test('a target that joins later, when the log was cut, is filled with all rows; with the guard off it is refused', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using late = await freshDatabase(18);
  await using world = await stage(from.url);
  await execute(from.url, ...SOURCE);
  for (const { url } of [first, late]) await execute(url, ...TARGET);
  await world.start({ new: first.url }, { until: 'caught-up' }).ended;
  const below = await beginSegment(world.dataDir);
  await execute(from.url, `UPDATE account SET owner = 'later' WHERE id < 20`, 'DELETE FROM item WHERE id > 490');
  await world.start({ new: first.url }, { until: 'caught-up' }).ended;
  await cutLog(world.dataDir, below);
  installTestHooks({ disabledGuards: ['join'] });
  await expect(world.start({ new: first.url, late: late.url }, { until: 'caught-up' }).ended).rejects.toMatchObject({ code: 'CF-5006' });
  installTestHooks({});
  const up = world.start({ new: first.url, late: late.url });
  await vi.waitFor(() => expect(up.status()?.targets?.map(({ name }) => name)).toEqual(['new', 'late']), WAIT);
  for (let i = 0; i < 10; i++)
    await execute(from.url, `UPDATE account SET owner = 'n${i}' WHERE id % 10 = ${i}`, `INSERT INTO item VALUES (${1000 + i}, 'x')`);
  await up.stop();
  await world.start({ new: first.url, late: late.url }, { until: 'caught-up' }).ended;
  await expectEqual(from.url, first.url, late.url);
  const verified = await world.run('verify');
  expect([verified.exitCode, verified.result]).toMatchObject([0, { differences: 0, targets: [{ name: 'new' }, { name: 'late' }] }]);
}, 180_000);

test('a table that goes to a second target later is copied again for that one', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using second = await freshDatabase(18);
  await using world = await stage(from.url);
  await execute(from.url, ...SOURCE);
  for (const { url } of [first, second]) await execute(url, ...TARGET);
  const targets = { new: first.url, other: second.url };
  const some = `${entry('account', 'new')}${entry('item', 'new')}${entry('account', 'other')}`;
  await world.start(targets, { until: 'caught-up', tables: some }).ended;
  expect(await execute(second.url, 'SELECT count(*) AS rows FROM item')).toEqual([{ rows: '0' }]);
  await world.start(targets, { until: 'caught-up' }).ended;
  await expectEqual(from.url, first.url, second.url);
}, 120_000);

test('a table that one target lacks for a while is a new one to it, though another had it throughout', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using second = await freshDatabase(18);
  await using world = await stage(from.url);
  await execute(from.url, ...SOURCE);
  for (const { url } of [first, second]) await execute(url, ...TARGET);
  const targets = { new: first.url, other: second.url };
  const some = `${entry('account', 'new')}${entry('item', 'new')}${entry('account', 'other')}`;
  await world.start(targets, { until: 'caught-up' }).ended;
  await world.start(targets, { until: 'caught-up', tables: some }).ended;
  await execute(from.url, 'DELETE FROM item WHERE id % 7 = 0', `UPDATE item SET note = 'meanwhile' WHERE id % 7 = 1`);
  await world.start(targets, { until: 'caught-up', tables: some }).ended;
  await expect(world.start(targets, { until: 'caught-up' }).ended).rejects.toMatchObject({ code: 'CF-5004' });
  const again = `${some}  - { from: public.item, target: other, existing: truncate }\n`;
  await world.start(targets, { until: 'caught-up', tables: again }).ended;
  await expectEqual(from.url, first.url, second.url);
}, 180_000);

test('a target that goes away stops neither the other one nor the log, and has everything when it is back', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using server = await startPostgres({ version: 18 });
  await using world = await stage(from.url);
  const away = await server.createDatabase('away');
  await execute(from.url, ...SOURCE);
  for (const url of [first.url, away]) await execute(url, ...TARGET);
  const up = world.start({ near: first.url, away });
  await vi.waitFor(() => expect(up.status()?.phase).toBe('following'), WAIT);
  await server.kill();
  await execute(from.url, `UPDATE account SET owner = 'meanwhile'`, 'DELETE FROM item WHERE id % 3 = 0');
  await vi.waitFor(async () => expectEqual(from.url, first.url), WAIT);
  await vi.waitFor(() => {
    const [near, gone] = up.status()?.targets ?? [];
    expect([near?.connected, gone?.connected, typeof gone?.error]).toEqual([true, false, 'string']);
  }, WAIT);
  expect(await up.metrics()).toMatch(/crossfade_target_reachable\{target="near"\} 1\n[^]*crossfade_target_reachable\{target="away"\} 0/);
  await server.start();
  await vi.waitFor(async () => expectEqual(from.url, first.url, away), WAIT);
  await up.stop();
}, 180_000);

test('up starts while a target is away that it knows, not while one is away that is new, and takes no tables for the same that changed', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using server = await startPostgres({ version: 18 });
  await using world = await stage(from.url);
  const away = await server.createDatabase('away');
  const targets = { near: first.url, away };
  await execute(from.url, ...SOURCE);
  for (const url of [first.url, away]) await execute(url, ...TARGET);
  await world.start(targets, { until: 'caught-up' }).ended;
  await server.kill();
  const checked = await world.run('check');
  expect([checked.exitCode, checked.findings.map(({ severity, code }) => `${severity} ${code}`)]).toEqual([0, ['warning CF-5001']]);
  await execute(from.url, `UPDATE account SET owner = 'meanwhile'`);
  const up = world.start(targets);
  await vi.waitFor(async () => expectEqual(from.url, first.url), WAIT);
  await vi.waitFor(() => expect(up.status()?.targets?.[1]).toMatchObject({ name: 'away', connected: false, phase: null }), WAIT);
  await server.start();
  await vi.waitFor(async () => expectEqual(from.url, first.url, away), WAIT);
  await up.stop();
  await execute(away, 'ALTER TABLE item ADD COLUMN more int');
  await server.kill();
  const again = world.start(targets);
  await vi.waitFor(() => expect(again.status()?.targets?.[0]).toMatchObject({ name: 'near', connected: true }), WAIT);
  await server.start();
  await vi.waitFor(() => expect(again.status()?.targets?.[1]?.error).toContain('have changed while it was away'), WAIT);
  await expect(again.stop()).rejects.toMatchObject({ code: 'CF-5006' });
  await world.start(targets, { until: 'caught-up' }).ended;
  await server.kill();
  const withNew = { ...targets, third: away.replace('/away', '/third') };
  await expect(world.start(withNew, { until: 'caught-up' }).ended).rejects.toMatchObject({ code: 'CF-5001' });
}, 240_000);

test('a target that is lost for good is given up, told and the end’s error, and the other one goes on', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using second = await freshDatabase(18);
  await using world = await stage(from.url);
  await execute(from.url, ...SOURCE);
  for (const { url } of [first, second]) await execute(url, ...TARGET);
  const up = world.start({ new: first.url, lost: second.url });
  await vi.waitFor(() => expect(up.status()?.phase).toBe('following'), WAIT);
  await execute(second.url, `UPDATE crossfade.progress SET epoch = epoch + 1`);
  await execute(from.url, `UPDATE account SET owner = 'after'`);
  await vi.waitFor(() => expect(up.status()?.targets?.[1]).toMatchObject({ connected: false, error: expect.any(String) as string }), WAIT);
  await vi.waitFor(async () => expectEqual(from.url, first.url), WAIT);
  await expect(up.stop()).rejects.toMatchObject({ code: 'CF-5005' });
}, 120_000);

test('commands act on the target that is named, and say so where one must be', async () => {
  await using from = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using second = await freshDatabase(18);
  await using world = await stage(from.url);
  await execute(from.url, ...SOURCE);
  for (const { url } of [first, second]) await execute(url, ...TARGET);
  const targets = { new: first.url, other: second.url };
  await world.start(targets, { until: 'caught-up' }).ended;
  await execute(second.url, 'DELETE FROM item WHERE id = 7');
  const [one, all] = [await world.run('verify', '--target', 'new'), await world.run('verify')];
  expect([one.exitCode, one.result]).toMatchObject([0, { differences: 0 }]);
  expect([all.exitCode, all.result]).toMatchObject([11, { differences: 1, targets: [{ differences: 0 }, { differences: 1 }] }]);
  expect(all.findings.filter(({ severity }) => severity === 'error').map(({ remedy }) => remedy)).toEqual([
    'crossfade repair --table public.item --target other',
  ]);
  const status = await world.run('status');
  expect(status.result).toMatchObject({
    drift: 1,
    targets: [
      { name: 'new', drift: 0 },
      { name: 'other', drift: 1 },
    ],
  });
  const up = world.start(targets);
  await vi.waitFor(() => expect(up.status()?.phase).toBe('following'), WAIT);
  expect([(await world.run('repair')).error?.code, (await world.run('dlq', 'list')).error?.code]).toEqual(['CF-1007', 'CF-1007']);
  expect((await world.run('verify', '--target', 'ohter')).error?.message).toContain('did you mean "other"');
  const repaired = await world.run('repair', '--target', 'other');
  expect([repaired.exitCode, repaired.result]).toMatchObject([0, { differences: 0 }]);
  await up.stop();
  await expectEqual(from.url, first.url, second.url);
  const [checked, planned] = [await world.run('check'), await world.run('plan')];
  expect([checked.exitCode, checked.result]).toMatchObject([0, { resumed: true, warnings: 0 }]);
  expect(planned.result).toMatchObject({ targets: [{ targetName: 'new' }, { targetName: 'other' }] });
}, 180_000);

describeWithRedis('beside a Redis', () => {
  test('the other target is followed while Redis is away, also from the start on; verify of all compares both', async () => {
    await using from = await freshDatabase(18);
    await using first = await freshDatabase(18);
    await using world = await stage(from.url);
    await using redis = await startRedis();
    await execute(from.url, ...SOURCE, 'ALTER TABLE item REPLICA IDENTITY FULL');
    await execute(first.url, ...TARGET);
    const targets = { near: first.url, cache: redis.url };
    const tables = `${entry('account', 'near')}${entry('item', 'near')}  - { from: public.item, target: cache, redis: { key: "item:{id}" } }\n`;
    await world.start(targets, { until: 'caught-up', tables }).ended;
    const rows = async (): Promise<unknown> => sourceRows(from.url, 'item', (row) => `item:${row['id']}`);
    expect(await redisHashes(redis.client, 'item:')).toEqual(await rows());
    const verified = await world.run('verify');
    expect([verified.exitCode, verified.result]).toMatchObject([
      0,
      { differences: 0, inconclusive: 0, targets: [{ inconclusive: 0 }, { name: 'cache', inconclusive: 0 }] },
    ]);
    await redis.client.del('item:1');
    const drifted = await world.run('verify');
    expect([drifted.exitCode, drifted.result]).toMatchObject([11, { targets: [{ differences: 0 }, { name: 'cache', differences: 1 }] }]);
    expect((await world.run('verify', '--target', 'near')).exitCode).toBe(0);
    expect((await world.run('dlq', 'list')).exitCode).toBe(0);
    await redis[Symbol.asyncDispose]();
    const stored = await world.run('status');
    expect(stored.result).toMatchObject({ phase: 'following', targets: [{ name: 'near' }, { name: 'cache', phase: null }] });
    expect([(await world.run('check')).exitCode, (await world.run('check', '--target', 'near')).exitCode]).toEqual([0, 0]);
    const up = world.start(targets, { tables });
    await vi.waitFor(() => expect(up.status()?.targets?.[1]).toMatchObject({ name: 'cache', connected: false, phase: null }), WAIT);
    await execute(from.url, `UPDATE item SET note = 'later' WHERE id < 9`);
    await vi.waitFor(async () => expectEqual(from.url, first.url), WAIT);
    await up.stop();
  }, 180_000);

  test('a table that Redis lacks for a while is a new one to it, though another target had it throughout', async () => {
    await using from = await freshDatabase(18);
    await using first = await freshDatabase(18);
    await using world = await stage(from.url);
    await using redis = await startRedis();
    await execute(from.url, ...SOURCE, 'ALTER TABLE item REPLICA IDENTITY FULL', 'ALTER TABLE account REPLICA IDENTITY FULL');
    await execute(first.url, ...TARGET);
    const targets = { near: first.url, cache: redis.url };
    const some = `${entry('account', 'near')}${entry('item', 'near')}  - { from: public.account, target: cache, redis: { key: "acct:{id}" } }\n`;
    const item = (existing: string): string =>
      `  - { from: public.item, target: cache, existing: ${existing}, redis: { key: "item:{id}" } }\n`;
    await world.start(targets, { until: 'caught-up', tables: some + item('refuse') }).ended;
    await world.start(targets, { until: 'caught-up', tables: some }).ended;
    await execute(from.url, 'DELETE FROM item WHERE id % 7 = 0', `UPDATE item SET note = 'meanwhile' WHERE id % 7 = 1`);
    await world.start(targets, { until: 'caught-up', tables: some }).ended;
    const refused = world.start(targets, { until: 'caught-up', tables: some + item('refuse') });
    await expect(refused.ended).rejects.toMatchObject({ code: 'CF-5004' });
    await world.start(targets, { until: 'caught-up', tables: some + item('truncate') }).ended;
    expect(await redisHashes(redis.client, 'item:')).toEqual(await sourceRows(from.url, 'item', (row) => `item:${row['id']}`));
  }, 180_000);
});
