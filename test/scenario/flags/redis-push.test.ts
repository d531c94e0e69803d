/** Flags pushed to a real Redis: who follows them there, and that nothing older ever takes the place of what is newer. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { openRedisPush } from '#connectors/flags/redis/push.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compareAge, type FlagDocument } from '#schemas/flags/flag-document.ts';
import { changeRules } from '#schemas/flags/read-rules.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { readLocalRemnants } from '#services/cli/report/local-remnants.ts';
import { createCrossfadeClient } from '#services/client/client.ts';
import { CUT_OVER, startFlagged } from '#test/support/flagged-instance.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { type RedisServer, startRedis } from '#test/support/redis/server.ts';

const SOON = { timeout: 30_000, interval: 10 };
const KEY = 'crossfade:shop:flags';

afterEach(() => installTestHooks({}));

function documentAt(epoch: number, state: number, version: number): FlagDocument {
  const rules = changeRules(undefined, { kind: 'kill', kill: false }, 'salt');
  return {
    name: 'shop',
    epoch,
    state,
    serves: epoch % 2 === 0 ? 'source' : 'target',
    ...(version > 0 && { rules: { ...rules, version } }),
  };
}

function fileOf(redis: string): string {
  return `crossfade: 1
name: shop
source: { postgres: "postgres://user@localhost/old" }
target: { postgres: "postgres://user@localhost/new" }
tables: [{ from: "public.*" }]
flags: { redis: "${redis}" }
`;
}

async function held({ client }: RedisServer): Promise<FlagDocument> {
  return JSON.parse((await client.hget(KEY, 'document'))!) as FlagDocument;
}

describeWithRedis('flags in Redis', () => {
  test('publishers in any order: what is held only grows newer, and each newer one is published once', async () => {
    await using redis = await startRedis();
    const [listener, seen] = [redis.client.duplicate(), [] as FlagDocument[]];
    listener.on('message', (_channel, text) => seen.push(JSON.parse(text) as FlagDocument));
    await listener.subscribe(KEY);
    const pushes = [openRedisPush(redis.url), openRedisPush(redis.url)];
    const seed = seedFromEnvironment();
    const random = seeded(seed);
    let newest: FlagDocument | undefined;
    let published = 0;
    for (let i = 0; i < 300; i++) {
      const document = documentAt(random.between(0, 3), random.between(0, 11), random.between(0, 11));
      const age = newest === undefined ? 1 : compareAge(document, newest);
      // The first command waits for the connection.
      const done = await vi.waitFor(async () => pushes[random.between(0, 1)]!.push(document), SOON);
      expect(done, `seed ${seed}`).toBe(age >= 0);
      if (age > 0) {
        newest = document;
        published++;
      }
      expect(await held(redis)).toEqual(newest);
    }
    await vi.waitFor(() => expect(seen).toHaveLength(published), SOON);
    expect(seen.at(-1)).toEqual(newest);
    for (const push of pushes) await push.close();
    listener.disconnect();
  });

  test('what was pushed is a remnant that is taken away by hand, since without it applications take the source; a Redis that does not answer is told', async () => {
    await using redis = await startRedis();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-'));
    const { file } = readMigrationFile({ path: 'migration.yaml', text: fileOf(redis.url), env: {} });
    const keys = async (of = file!): Promise<Remnant[]> => (await readLocalRemnants(of, directory)).filter(({ kind }) => kind === 'keys');
    expect(await keys()).toEqual([]);
    const push = openRedisPush(redis.url);
    await vi.waitFor(async () => push.push(documentAt(2, 1, 1)), SOON);
    await push.close();
    expect(await keys()).toMatchObject([
      { place: 'redis', name: KEY, fate: 'hand', how: `redis-cli DEL ${KEY}, once no application asks for its flags` },
    ]);
    const waves = { waves: [], shared: [], columns: [], distinct: [], by: 'tenant', observationMs: 0, line: 1, column: 1 };
    expect(await keys({ ...file!, name: 'shop_acme', wave: { name: 'acme', of: 'shop', waves } })).toMatchObject([{ name: KEY }]);
    await redis.client.del(KEY);
    expect(await keys()).toEqual([]);
    await redis[Symbol.asyncDispose]();
    expect(await keys()).toMatchObject([{ name: KEY, detail: expect.stringContaining('not looked at') as string }]);
    await rm(directory, { recursive: true });
  });

  test('without the guard an old publisher takes a flip back', async () => {
    await using redis = await startRedis();
    const push = openRedisPush(redis.url);
    await vi.waitFor(async () => push.push(documentAt(2, 1, 1)), SOON);
    expect(await push.push(documentAt(1, 9, 9))).toBe(false);
    installTestHooks({ disabledGuards: ['flag-epoch'] });
    expect(await push.push(documentAt(1, 9, 9))).toBe(true);
    expect((await held(redis)).epoch).toBe(1);
    await push.close();
  });

  test('a client of Redis alone follows rules and flips within a second, also after Redis has lost its memory', async () => {
    await using redis = await startRedis();
    await using stage = await startFlagged(`flags: { redis: "${redis.url}" }\n`);
    // So long that it is the message that brings the news.
    const client = createCrossfadeClient({ name: 'scenario', redis: redis.url, pollMs: 600_000 });
    expect(await client.ready()).toBe(true);
    const took: number[] = [];
    const timed = async (look: () => string, side: string): Promise<void> => {
      const beganMs = performance.now();
      await vi.waitFor(() => expect(look()).toBe(side), SOON);
      took.push(performance.now() - beganMs);
    };
    for (const side of ['target', 'source', 'target']) {
      await stage.flags('set', '--reads', side);
      await timed(() => client.readFrom({ unit: 'acme' }), side);
    }
    await stage.apply(...CUT_OVER);
    await timed(() => client.writeTo(), 'target');
    // The quickest: how long one takes on a machine that does much else is no matter of the product's.
    expect(Math.min(...took)).toBeLessThan(1_000);
    await redis.client.flushall();
    expect(client.writeTo()).toBe('target');
    await vi.waitFor(async () => expect(await redis.client.hget('crossfade:scenario:flags', 'epoch')).toBe('1'), SOON);
    await client.close();
  });
});
