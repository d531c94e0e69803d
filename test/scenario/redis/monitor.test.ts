/** A running instance compares Redis by itself: what somebody wrote behind its back is found, named, and followed until it is repaired. */
import { expect, test, vi } from 'vitest';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import { readKeptFindings } from '#services/runtime/kept-findings.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { startRedis } from '#test/support/redis/server.ts';
import { startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 60_000, interval: 50 };
const REST = `heartbeatSeconds: 1
tables:
  - { from: public.account, redis: { key: "acct:{id}", sets: ["by_country:{country}"] } }
reconcile: { budgetPercent: 100, startAfterSeconds: 0 }
`;

describeWithRedis('the monitor of a Redis target', () => {
  test('finds, names and sees repaired what somebody else wrote', { timeout: 120_000 }, async () => {
    await using from = await freshDatabase(18);
    await execute(
      from.url,
      `CREATE TABLE account (id int PRIMARY KEY, country text, balance numeric(12,2) NOT NULL);
       ALTER TABLE account REPLICA IDENTITY FULL;
       INSERT INTO account SELECT g, (ARRAY['DE','FR'])[1 + g % 2], g FROM generate_series(1, 500) g`,
    );
    await using redis = await startRedis();
    await using instance = await startInstance({ source: from.url, target: redis.url, rest: REST });
    const proof = (): ReconciliationStatus | undefined => instance.status()?.reconciliation;
    await vi.waitFor(() => expect(proof()).toMatchObject({ proved: 1, suspected: 0, inconclusive: 0 }), WAIT);

    await redis.client.hset('acct:77', 'balance', '1.00');
    await redis.client.del('acct:78');
    await redis.client.hset('acct:9999', 'id', '9999', 'balance', '1.00');
    await redis.client.srem('by_country:FR', 'acct:79');
    // Something happens in the table, or it would be looked at with the next sweep only.
    await execute(from.url, 'UPDATE account SET balance = 0 WHERE id = 1');
    await vi.waitFor(() => expect(proof()).toMatchObject({ confirmed: 4, proved: 0 }), WAIT);
    const found = readKeptFindings(instance.dataDir).toSorted((one, other) => Number(one.key!['id']) - Number(other.key!['id']));
    expect(found.map(({ kind, key, columns, state }) => [key!['id'], kind, columns, state])).toEqual([
      ['77', 'different', ['balance'], 'confirmed'],
      ['78', 'missing', [], 'confirmed'],
      ['79', 'different', ['by_country:{country}'], 'confirmed'],
      ['9999', 'extra', [], 'confirmed'],
    ]);

    const keys = [['77'], ['78'], ['79'], ['9999']];
    await instance.post('/v1/recopy', { kind: 'keys', schema: 'public', table: 'account', keys, reason: 'a test' });
    await vi.waitFor(() => expect(proof()).toMatchObject({ proved: 1, suspected: 0, confirmed: 0, repairing: 0 }), WAIT);
    const ended = readKeptFindings(instance.dataDir).map(({ steps }) => steps.map(({ state }) => state));
    expect(ended).toEqual(Array.from({ length: 4 }, () => ['suspected', 'confirmed', 'repairing', 'verified']));
  });
});
