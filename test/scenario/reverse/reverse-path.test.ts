/** The way back: what is written on the target once it serves comes to the source, once, and nothing goes round. */
import { describe, expect, test, vi } from 'vitest';
import type { PostgresVersion } from '#test/support/postgres.ts';
import { createInstanceClient, findInstance } from '#services/cli/instance-client.ts';
import { execute, type TextRow } from '#test/support/application.ts';
import { ReverseWorld, WAIT } from '#test/support/reverse-world.ts';

const LONG_MS = 240_000;
const SOURCE = [
  'CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, cents int NOT NULL, remark text)',
  `INSERT INTO account SELECT g, 'o' || g, g * 100, 'r' || g FROM generate_series(1, 500) g`,
  'CREATE TABLE item (id int PRIMARY KEY, account int REFERENCES account, note text)',
  `INSERT INTO item SELECT g, 1 + g % 500, 'n' || g FROM generate_series(1, 800) g`,
];
const TARGET = [
  'CREATE TABLE holder (id bigint PRIMARY KEY, name text NOT NULL, balance numeric(12,2) NOT NULL, since timestamptz DEFAULT now())',
  'CREATE TABLE item (id int PRIMARY KEY, account bigint REFERENCES holder, note text)',
];
const TABLES = `  - from: public.account
    to: public.holder
    columns: { owner: name }
    drop: [remark, cents]
    set: { balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] } }
  - from: public.item
`;

async function open(name: string, from: PostgresVersion, to: PostgresVersion): Promise<ReverseWorld> {
  return ReverseWorld.open({ name, from, to, source: SOURCE, target: TARGET, tables: TABLES });
}

/** As both sides should show it. */
async function accounts(world: ReverseWorld, where: string): Promise<{ readonly source: TextRow[]; readonly target: TextRow[] }> {
  const source = await execute(
    world.source,
    `SELECT id, owner AS name, (cents / 100.0)::numeric(12,2) AS balance FROM account WHERE ${where} ORDER BY id`,
  );
  const target = await execute(world.target, `SELECT id, name, balance FROM holder WHERE ${where} ORDER BY id`);
  return { source, target };
}

describe.each([
  [14, 18],
  [18, 18],
] as const)('%i → %i', (from, to) => {
  test('carries the target’s writes once it serves, and the application’s of before are not echoed', { timeout: LONG_MS }, async () => {
    await using world = await open(`path_${from}_${to}`, from, to);
    const up = world.start();
    await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
    await world.want();
    expect((await world.proven()).milliseconds, up.logTail(20)).toBeLessThan(5_000);

    // The source serves: what is written there comes to the target, and stops there.
    await execute(
      world.source,
      `UPDATE account SET cents = cents + 1 WHERE id <= 200`,
      `INSERT INTO account VALUES (1001, 'new', 5, 'only here')`,
      'DELETE FROM item WHERE id > 790',
    );
    const written = await world.versions('source', 'account');
    await world.caughtUp();
    await world.proven();
    expect(await world.versions('source', 'account')).toBe(written);
    expect(await world.foreign()).toEqual([]);

    // What somebody writes on the target all the same is counted, and goes nowhere.
    await execute(world.target, `UPDATE holder SET name = 'stray' WHERE id IN (1, 2)`, 'DELETE FROM item WHERE id = 1');
    await world.proven();
    expect(await world.foreign()).toMatchObject([
      { table: 'public.holder', changes: 2 },
      { table: 'public.item', changes: 1 },
    ]);
    expect(await execute(world.source, 'SELECT owner FROM account WHERE id = 1')).toEqual([{ owner: 'o1' }]);
    await execute(world.target, `UPDATE holder SET name = 'o' || id WHERE id IN (1, 2)`, `INSERT INTO item VALUES (1, 2, 'n1')`);
    await world.proven();

    await world.serve('target');
    await execute(
      world.target,
      `UPDATE holder SET balance = 7.25, name = 'flipped' WHERE id IN (3, 1001)`,
      `INSERT INTO holder (id, name, balance) VALUES (2001, 'born here', 1.10)`,
      `INSERT INTO item VALUES (9001, 2001, 'child')`,
      'DELETE FROM item WHERE id BETWEEN 10 AND 19',
    );
    const before = await world.versions('target', 'holder');
    await world.proven();
    const { source, target } = await accounts(world, 'id IN (3, 1001, 2001)');
    expect(source).toEqual(target);
    expect(source).toHaveLength(3);
    // What the target does not have stays as it is.
    expect(await execute(world.source, 'SELECT remark FROM account WHERE id IN (3, 1001, 2001) ORDER BY id')).toEqual([
      { remark: 'r3' }, { remark: 'only here' }, { remark: null },
    ]); // prettier-ignore
    expect(await execute(world.source, 'SELECT count(*) AS n FROM item WHERE id BETWEEN 10 AND 19 OR id = 9001')).toEqual([{ n: '1' }]);
    await world.caughtUp();
    expect(await world.versions('target', 'holder')).toBe(before);
    expect(await world.verified()).toMatchObject({ differences: 0, inconclusive: 0 });
    expect(await up.stop()).toEqual({ code: 0, signal: null });
  });
});

test('is begun anew while the source serves, and refused once the target does', { timeout: LONG_MS }, async () => {
  await using world = await open('path_lost', 18, 18);
  let up = world.start();
  await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  const slots = async (): Promise<TextRow[]> =>
    execute(world.target, `SELECT FROM pg_replication_slots WHERE slot_name = 'path_lost_reverse'`);
  await world.want();
  await world.proven();
  await world.want(false);
  await vi.waitFor(async () => expect(await slots()).toEqual([]), WAIT);
  await world.want();
  await world.proven();
  await up.stop();
  await execute(world.target, `SELECT pg_drop_replication_slot('path_lost_reverse')`);
  up = world.start();
  await world.proven();
  await up.stop();
  await world.serve('target');
  await execute(world.target, `SELECT pg_drop_replication_slot('path_lost_reverse')`);
  up = world.start();
  await vi.waitFor(() => expect(up.logTail(50)).toContain('CF-8203'), WAIT);
  expect(await slots()).toEqual([]);
  expect(up.result).toBeUndefined();
});

test(
  'a source that has lost its journal while the target serves loses nothing of what is written there',
  { timeout: LONG_MS },
  async () => {
    await using world = await open('path_bereft', 18, 18);
    let up = world.start();
    await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
    await world.want();
    await world.proven();
    await world.serve('target');
    await execute(
      world.target,
      `UPDATE crossfade.migration SET state = 'observing', serves = 'target', epoch = 1 WHERE name = 'path_bereft'`,
    );
    await up.stop();
    await execute(world.source, 'CREATE TABLE kept AS SELECT * FROM crossfade.journal', 'DELETE FROM crossfade.journal');
    await execute(world.target, `UPDATE holder SET name = 'acknowledged' WHERE id = 7`);
    up = world.start();
    await vi.waitFor(() => expect(up.logTail(50)).toContain('CF-8005'), WAIT);
    // Whoever looked puts it back.
    await execute(world.source, 'INSERT INTO crossfade.journal SELECT * FROM kept');
    await world.proven();
    expect(await execute(world.source, 'SELECT owner FROM account WHERE id = 7')).toEqual([{ owner: 'acknowledged' }]);
    expect(await world.foreign()).toEqual([]);
  },
);

test('rows of the source are not copied over those of a target that serves', { timeout: LONG_MS }, async () => {
  await using world = await open('path_recopy', 18, 18);
  const up = world.start();
  await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  const signal = AbortSignal.timeout(LONG_MS);
  const instance = createInstanceClient((await findInstance({ dataDir: world.dataDir, environment: {}, signal }))!, signal);
  const again = { kind: 'table', schema: 'public', table: 'account', reason: 'test' } as const;
  await instance.recopy(again);
  await world.want();
  await world.proven();
  // What is written on the target from here on is not on the source yet.
  await world.want(false);
  await world.serve('target');
  await execute(world.target, `UPDATE holder SET name = 'acknowledged' WHERE id = 7`);
  await expect(instance.recopy(again)).rejects.toMatchObject({ code: 'CF-8002' });
  await world.caughtUp();
  expect(await execute(world.target, 'SELECT name FROM holder WHERE id = 7')).toEqual([{ name: 'acknowledged' }]);
});

test('without the guard what the forward sink wrote would go round', { timeout: LONG_MS }, async () => {
  await using world = await open('path_loop', 18, 18);
  const up = world.start({ CROSSFADE_TEST_DISABLE: 'no-loops,foreign' });
  await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  await world.want();
  await world.proven();
  await execute(world.source, 'UPDATE account SET cents = cents + 1 WHERE id <= 20');
  const written = await world.versions('source', 'account');
  await world.caughtUp();
  await world.proven();
  expect(await world.versions('source', 'account')).not.toBe(written);
});
