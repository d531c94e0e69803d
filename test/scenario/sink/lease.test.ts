import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { execute } from '#test/support/application.ts';
import { SinkProcess } from '#test/support/leased-sinks.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const WAIT = { timeout: 30_000, interval: 20 };
const ACTIVE = 'log this sink is the active one';
/** A lease is of five; what comes on top is the machine's, which does much else. */
const SECONDS_MS = 20_000;
const LEASE_MS = 5_000;
const STANDS_BY = 'log another sink is active; standing by';

interface Stage extends AsyncDisposable {
  readonly url: string;
  start(): Promise<SinkProcess>;
  count(): Promise<number>;
  epoch(): Promise<number>;
}

async function openStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await freshDatabase());
  for (const schema of ['old', 'new'])
    await execute(url, `CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.item (id int PRIMARY KEY, label text NOT NULL)`);
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-lease-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  let started = 0;
  const one = async (sql: string): Promise<number> => Number((await execute(url, sql))[0]?.['n']);
  const kept = stack.move();
  return {
    url,
    start: async () => {
      const sink = kept.use(new SinkProcess(url, join(directory, String(started++))));
      await vi.waitFor(() => expect(sink.said).toContain('ready'), WAIT);
      return sink;
    },
    count: () => one('SELECT count(*) AS n FROM new.item'),
    epoch: () => one('SELECT epoch AS n FROM crossfade.progress'),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** One acts, one stands by; both hold the same log. */
async function twoSinks(stage: Stage): Promise<readonly [active: SinkProcess, standby: SinkProcess]> {
  const active = await stage.start();
  await vi.waitFor(() => expect(active.said).toContain(ACTIVE), WAIT);
  const standby = await stage.start();
  await vi.waitFor(() => expect(standby.said).toContain(STANDS_BY), WAIT);
  for (const sink of [active, standby]) sink.write(100);
  await vi.waitFor(async () => expect(await stage.count()).toBe(100), WAIT);
  expect(standby.said).not.toContain(ACTIVE);
  return [active, standby];
}

test('a standby takes over within seconds of the active sink being killed', async () => {
  await using stage = await openStage();
  const [active, standby] = await twoSinks(stage);
  const killedAt = performance.now();
  await active.kill();
  await vi.waitFor(() => expect(standby.said).toContain(ACTIVE), WAIT);
  expect(performance.now() - killedAt).toBeLessThan(SECONDS_MS);
  standby.write(50);
  await vi.waitFor(async () => expect(await stage.count()).toBe(150), WAIT);
});

test('a standby takes over from a sink that is stopped while it applies; woken, that one commits nothing more and stands by', async () => {
  await using stage = await openStage();
  const [active, standby] = await twoSinks(stage);
  // Both logs hold the same, as one would.
  standby.write(2_000);
  await vi.waitFor(() => expect(standby.said.filter((line) => line.startsWith('written'))).toHaveLength(2), WAIT);
  active.write(2_000);
  await vi.waitFor(async () => expect(await stage.count()).toBeGreaterThan(150), WAIT);
  const stoppedAt = performance.now();
  active.signal('SIGSTOP');
  await vi.waitFor(() => expect(standby.said).toContain(ACTIVE), WAIT);
  expect(performance.now() - stoppedAt).toBeLessThan(SECONDS_MS);
  await vi.waitFor(async () => expect(await stage.count()).toBe(2_100), WAIT);
  const epoch = await stage.epoch();
  active.signal('SIGCONT');
  await vi.waitFor(() => expect(active.said.slice(active.said.lastIndexOf(ACTIVE))).toContain(STANDS_BY), WAIT);
  active.write(10);
  standby.write(10);
  await vi.waitFor(async () => expect(await stage.count()).toBe(2_110), WAIT);
  expect(await stage.epoch()).toBe(epoch);
  expect(active.said.filter((line) => line.startsWith('failed'))).toEqual([]);
});

test('a sink that ends in good order gives its lease away at once', async () => {
  await using stage = await openStage();
  const [active, standby] = await twoSinks(stage);
  await active.stop();
  const stoppedAt = performance.now();
  await vi.waitFor(() => expect(standby.said).toContain(ACTIVE), WAIT);
  expect(performance.now() - stoppedAt).toBeLessThan(LEASE_MS);
});
