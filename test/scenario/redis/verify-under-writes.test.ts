/** No false alarm from a Redis target while writers run: with the pipeline following, paused, and stopped in the middle of the writes. */
import { afterEach, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { verifyStore } from '#services/reconciler/redis/verify-store.ts';
import { readMigration } from '#services/up/read-migration.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { startShop, startWriting, tableOf, type Answer } from '#test/support/redis/compared-shop.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { startRedis } from '#test/support/redis/server.ts';

/** `npm run prove -- --only redis-compare` makes many more. */
const VERIFIES = 8;

/** Not judged is an honest answer here; a difference is not. */
function expectNoAlarm({ exitCode, result, text }: Answer): void {
  expect(result, text).not.toBeNull();
  expect(result.differences, text).toBe(0);
  expect([0, 1], text).toContain(exitCode);
}

afterEach(() => installTestHooks({}));

describeWithRedis('verify of a Redis target', () => {
  test(`alarms nobody in ${VERIFIES} comparisons under writes, finds what is wrong among them, and is clean when they end`, async () => {
    const seed = seedFromEnvironment();
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await using shop = await startShop({ source: from.url, target: redis.url, rows: 2_000 });
    let judged = 0;
    {
      await using writing = startWriting(from.url, { random: seeded(seed), keys: 200, sessions: 3 });
      for (let i = 0; i < VERIFIES; i++) {
        // Redis answers readers, and keeps the sink waiting.
        await redis.client.call('CLIENT', 'PAUSE', String(50 * i), 'WRITE');
        const answer = await shop.run('verify');
        expectNoAlarm(answer);
        if (answer.exitCode === 0) judged++;
      }
      // Rows that nobody changes lie among those that are changed all the time.
      await redis.client.hset('acct:1600', 'balance', '0.01');
      await redis.client.del('order:1700');
      const found = await shop.run('verify');
      expect(found.exitCode, found.text).toBe(11);
      expect(tableOf(found.result, 'public.account').sample).toMatchObject([
        { kind: 'different', key: { id: '1600' }, columns: ['balance'] },
      ]);
      expect(tableOf(found.result, 'public.orders').sample).toMatchObject([{ kind: 'missing', key: { id: '1700' } }]);
      expect((await shop.run('repair')).result.differences).toBe(0);
      expect(writing.count, `seed ${seed}`).toBeGreaterThan(100);
    }
    // A loaded machine judges less often; never is none of our answers.
    expect(judged, 'all rows were judged in some of them').toBeGreaterThan(VERIFIES / 4);
    const still = await shop.run('verify');
    expect([still.exitCode, still.result.inconclusive], still.text).toEqual([0, 0]);
    await shop.stop();
    const stopped = await shop.run('verify');
    expect([stopped.exitCode, stopped.result.inconclusive], stopped.text).toEqual([0, 0]);
    await execute(from.url, `UPDATE account SET balance = -1 WHERE id = 1601`);
    const behind = await shop.run('verify');
    expect([behind.exitCode, tableOf(behind.result, 'public.account').inconclusive?.cause], behind.text).toEqual([1, 'lag']);
  }, 240_000);

  test('judges nothing while Redis lags for longer than it waits, and all of it afterwards', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await using shop = await startShop({ source: from.url, target: redis.url, rows: 500 });
    const { file } = shop.instance;
    const { mapping } = await readMigration(file);
    const { name } = file;
    const options = {
      sourceUrl: from.url,
      address: file.target.redis!,
      mapping,
      name,
      slot: name,
      publication: name,
      logger: silentLogger,
    };
    await redis.client.call('CLIENT', 'PAUSE', '120000', 'WRITE');
    await execute(from.url, 'UPDATE account SET balance = 0', 'DELETE FROM pair');
    const behind = await verifyStore({ ...options, limits: { waitMs: 300 } });
    expect([behind.differences, behind.tables.map(({ inconclusive }) => inconclusive?.cause)]).toEqual([0, ['lag', 'lag', 'lag']]);
    await redis.client.call('CLIENT', 'UNPAUSE');
    expect(await verifyStore(options)).toMatchObject({ differences: 0, inconclusive: 0 });
  }, 120_000);

  test('with changes ignored it would alarm: the guard is needed', async () => {
    const seed = seedFromEnvironment();
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await using shop = await startShop({ source: from.url, target: redis.url, rows: 300 });
    await using writing = startWriting(from.url, { random: seeded(seed), keys: 300, sessions: 3 });
    installTestHooks({ disabledGuards: ['verify-changes'] });
    let differences = 0;
    for (let i = 0; i < 50 && differences === 0; i++) ({ differences } = (await shop.run('verify')).result);
    expect(differences, `seed ${seed}, ${writing.count} transactions`).toBeGreaterThan(0);
  }, 120_000);
});
