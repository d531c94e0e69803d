/** What somebody wrote to Redis behind the pipeline's back is found with key and column, copied again by `repair`, and equal then. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { ReportDocument } from '#schemas/report/report-document.ts';
import { noteRedisAudit, readRedisTrail } from '#connectors/target/redis/audit.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { startShop, tableOf } from '#test/support/redis/compared-shop.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { startRedis } from '#test/support/redis/server.ts';

/** Countries of the accounts go round: DE for those that four divides, then FR, one that the file leaves out, none. */
async function corrupt(redis: Redis): Promise<void> {
  await redis.hset('acct:1', 'balance', '99.99');
  await redis.del('acct:5');
  await redis.hset('acct:700001', 'id', '700001', 'balance', '1.00');
  await redis.hset('acct:3', 'country', 'DE');
  await redis.hdel('acct:8', 'seen', 'owner');
  await redis.srem('by_country:FR', 'acct:9');
  // Members too many: of a row, of a row that moved, of none; and one that is no row's key.
  await redis.sadd('by_country:IT', 'acct:17', 'acct:700002', 'mine');
  await redis.sadd('by_country:DE', 'acct:9');
  await redis.del('acct:12');
  await redis.set('acct:12', 'something else');
  await redis.hdel('acct:13', '_cf');
  // Not a row's: extra where the whole is somebody's, nobody's business where it is a field more.
  await redis.hset('acct:16', 'mine', 'stays');
  await redis.set('order:1', (await redis.get('order:1'))!.replace('"total":1.10', '"total":1.1'));
  await redis.set('order:2', (await redis.get('order:2'))!.replace('"paid":true', '"paid":"t"'));
  await redis.set('order:3', (await redis.get('order:3'))!.replace('"x": "}"', '"x": "]"'));
  await redis.set('order:6', '{"broken');
  await redis.set('order:1000000', '{"_cf":"","id":1000000}');
  await redis.del('pair:4:b%3A%254%20ä');
}

const FOUND: Readonly<Record<string, readonly string[]>> = {
  'public.account': [
    'different 1 balance',
    'different 12 id,owner,country,balance,seen,_cf',
    'different 13 _cf',
    'different 17 by_country:{country}',
    'different 3 country',
    'different 8 owner,seen',
    'different 9 by_country:{country}',
    'extra 700001 ',
    'extra 700002 by_country:{country}',
    'missing 5 ',
  ],
  'public.orders': [
    'different 1 total',
    'different 2 paid',
    'different 3 details',
    'different 6 id,paid,total,rate,note,details,_cf',
    'extra 1000000 ',
  ],
  'public.pair': ['missing 4/b:%4 ä '],
};

describeWithRedis('verify of a Redis target', () => {
  test('names what was changed, deleted, added and put back to an older state; repair mends it', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await using shop = await startShop({ source: from.url, target: redis.url, rows: 3_000 });
    const stale = await redis.client.dumpBuffer('acct:20');
    await execute(from.url, 'UPDATE account SET balance = 5 WHERE id = 20');
    const clean = await shop.run('verify');
    expect([clean.exitCode, clean.result.differences, clean.result.inconclusive], clean.text).toEqual([0, 0, 0]);
    expect(tableOf(clean.result, 'public.account')).toMatchObject({ rowsSource: 2250, rowsTarget: 2250, lsn: clean.result.at.lsn });

    await corrupt(redis.client);
    await redis.client.restore('acct:20', 0, stale, 'REPLACE');
    const found = await shop.run('verify');
    expect(found.result, found.text).not.toBeNull();
    const listed = found.result.tables.map(({ from: table, sample }) => [
      table,
      sample.map(({ kind, key, columns }) => `${kind} ${Object.values(key ?? {}).join('/')} ${columns.join(',')}`).toSorted(),
    ]);
    const expected = { ...FOUND, 'public.account': [...FOUND['public.account']!, 'different 20 balance'].toSorted() };
    expect(Object.fromEntries(listed)).toEqual(expected);
    expect([found.exitCode, found.result.differences]).toEqual([11, 17]);

    const repaired = await shop.run('repair');
    const left = repaired.result.tables.flatMap(({ sample }) => sample.map(({ key, cause = '' }) => `${key!['id']} ${cause}`).toSorted());
    expect([repaired.exitCode, left], repaired.text).toEqual([11, ['12 foreign', '17 ', '700002 ', '9 ']]);
    await redis.client.del('acct:12');
    await redis.client.srem('by_country:IT', 'acct:17', 'acct:700002');
    await redis.client.srem('by_country:DE', 'acct:9');
    expect((await shop.run('verify')).exitCode).toBe(11);
    const mended = await shop.run('repair');
    expect([mended.exitCode, mended.result.differences], mended.text).toEqual([0, 0]);
    const again = await shop.run('verify');
    expect([again.exitCode, again.result.differences, again.result.inconclusive], again.text).toEqual([0, 0, 0]);
    expect(await redis.client.hget('acct:16', 'mine')).toBe('stays');

    // Who has asked for what stands in Redis, and in the report; no key of a row does.
    const told = (await shop.run('report')).result as unknown as ReportDocument;
    expect(told).toMatchObject({
      serves: 'source',
      unread: [],
      audit: { ok: true, head: { seq: 4 } },
      evidence: { verify: { differences: 0 } },
    });
    expect(told.audit.records.map(({ event }) => event)).toEqual(['repair-asked', 'repaired', 'repair-asked', 'repaired']);
    expect(told.audit.records[0]).toMatchObject({
      actor: expect.stringMatching(/^.+@.+$/) as string,
      details: {
        salt: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
        requests: expect.arrayContaining([expect.objectContaining({ table: 'public.account', kind: 'keys' })]) as object,
        before: expect.arrayContaining([expect.objectContaining({ table: 'public.orders' })]) as object,
      },
    });
    expect(JSON.stringify(told.audit)).not.toMatch(/700002|acct:/);
    // Writers at the same time stand in a line.
    const address = { url: redis.url, cluster: false };
    const notes = Array.from({ length: 8 }, async (_, i) => noteRedisAudit(address, 'scenario', { actor: `writer ${i}`, event: 'noted' }));
    await Promise.all(notes);
    expect((await readRedisTrail(address, 'scenario')).verdict).toMatchObject({ ok: true, records: 12 });
    const key = 'crossfade:{scenario}:audit';
    await redis.client.hset(key, '2', (await redis.client.hget(key, '2'))!.replace('"extra":', '"more":'));
    const altered = (await shop.run('report')).result as unknown as ReportDocument;
    expect(altered.audit).toMatchObject({ ok: false, why: 'record 2 is not what was written' });
  });
});
