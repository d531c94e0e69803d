/** What rows look like in Redis, and what happens to those that cannot be there. */
import { expect, test, vi } from 'vitest';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { keysOf, redisHashes, sourceRows } from '#test/support/redis/rows.ts';
import { startRedis } from '#test/support/redis/server.ts';
import { startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 30_000, interval: 50 };

describeWithRedis('rows in Redis', () => {
  test('a JSON object keeps every digit, and tells NULL, empty text, true and JSON apart', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(
      from.url,
      `CREATE TABLE v (id bigint PRIMARY KEY, n numeric, f float8, b boolean, j jsonb, t text, nothing text, at timestamptz, a int[])`,
      'ALTER TABLE v REPLICA IDENTITY FULL',
      `INSERT INTO v VALUES (9223372036854775807, 123456789012345678901234567890.10, 0.1, true, '{"k": [1, 12345678901234567890.5, "é"]}', E'a"b\\\\c\\n\\u0001', NULL, '2026-01-02 03:04:05.678901+00', '{1,NULL}'),
        (-1, 'NaN', '-Infinity', false, 'null', '', NULL, NULL, NULL)`,
    );
    await using stack = new AsyncDisposableStack();
    stack.use(
      await startInstance({
        source: from.url,
        target: redis.url,
        rest: 'tables:\n  - { from: public.v, redis: { key: "v:{id}", form: json } }\n',
      }),
    );
    const text = async (key: string): Promise<string> => ((await redis.client.get(key)) ?? '').replace(/^\{"_cf":"[0-9a-f]{32}",/, '{');
    const first = String.raw`{"id":9223372036854775807,"n":123456789012345678901234567890.10,"f":0.1,"b":true,"j":{"k": [1, 12345678901234567890.5, "é"]},"t":"a\"b\\c\u000a\u0001","nothing":null,"at":"2026-01-02 03:04:05.678901+00","a":"{1,NULL}"}`;
    const second = '{"id":-1,"n":"NaN","f":"-Infinity","b":false,"j":null,"t":"","nothing":null,"at":null,"a":null}';
    await vi.waitFor(async () => expect(await text('v:9223372036854775807')).toBe(first), WAIT);
    expect(await text('v:-1')).toBe(second);
    await execute(from.url, `UPDATE v SET t = 'x' WHERE id = -1`);
    await vi.waitFor(async () => expect(await text('v:-1')).toBe(second.replace('"t":""', '"t":"x"')), WAIT);
  });

  test('a computed value stands in a JSON object as its column’s type, and as a string where it is none', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(
      from.url,
      'CREATE TABLE v (id int PRIMARY KEY, n numeric, b boolean, j jsonb, raw text, flag text, doc text)',
      'ALTER TABLE v REPLICA IDENTITY FULL',
      `INSERT INTO v (id, raw, flag, doc) VALUES (1, '12.50', 'true', '{"a": 1}'), (2, '007', 'no', '{a'), (3, NULL, NULL, NULL)`,
      `INSERT INTO v VALUES (4, 1.0, false, '[1]')`,
    );
    await using stack = new AsyncDisposableStack();
    const either = (one: string, other: string): string => `{ from: [${one}, ${other}], steps: [coalesce] }`;
    const set = `{ n: ${either('raw', 'n')}, b: ${either('flag', 'b')}, j: ${either('doc', 'j')} }`;
    stack.use(
      await startInstance({
        source: from.url,
        target: redis.url,
        rest: `tables:\n  - { from: public.v, drop: [raw, flag, doc], set: ${set}, redis: { key: "v:{id}", form: json } }\n`,
      }),
    );
    await vi.waitFor(async () => expect(await keysOf(redis.client, 'v:')).toHaveLength(4), WAIT);
    const text = async (key: string): Promise<string> => ((await redis.client.get(key)) ?? '').replace(/^\{"_cf":"[0-9a-f]{32}",/, '{');
    expect(await Promise.all(['v:1', 'v:2', 'v:3', 'v:4'].map(text))).toEqual([
      '{"id":1,"n":12.50,"b":true,"j":{"a": 1}}',
      '{"id":2,"n":"007","b":"no","j":"{a"}',
      '{"id":3,"n":null,"b":null,"j":null}',
      '{"id":4,"n":1.0,"b":false,"j":[1]}',
    ]);
  });

  test('a domain stands in a JSON object as the type that it rests on, computed or not', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(
      from.url,
      'CREATE DOMAIN amount AS int CHECK (value > 0); CREATE DOMAIN small_amount AS amount; CREATE DOMAIN flag AS bool; CREATE DOMAIN doc AS jsonb',
      'CREATE TABLE v (id int PRIMARY KEY, a amount, s small_amount, f flag, d doc, ca amount, cs small_amount, cf flag, cd doc)',
      'ALTER TABLE v REPLICA IDENTITY FULL',
      `INSERT INTO v VALUES (1, 7, 8, true, '[1]', 7, 8, false, '{"a": 1}')`,
    );
    await using stack = new AsyncDisposableStack();
    const same = ['ca', 'cs', 'cf', 'cd'].map((name) => `${name}: { from: ${name}, steps: [trim] }`).join(', ');
    stack.use(
      await startInstance({
        source: from.url,
        target: redis.url,
        rest: `tables:\n  - { from: public.v, set: { ${same} }, redis: { key: "v:{id}", form: json } }\n`,
      }),
    );
    const text = async (): Promise<string> => ((await redis.client.get('v:1')) ?? '').replace(/^\{"_cf":"[0-9a-f]{32}",/, '{');
    const row = '{"id":1,"a":7,"s":8,"f":true,"d":[1],"ca":7,"cs":8,"cf":false,"cd":{"a": 1}}';
    await vi.waitFor(async () => expect(await text()).toBe(row), WAIT);
    await execute(from.url, 'UPDATE v SET a = 9, ca = 9');
    await vi.waitFor(async () => expect(await text()).toBe(row.replaceAll('a":7', 'a":9')), WAIT);
  });

  test('a row expires so long after its last change, and leaves nothing behind in the end', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, 'CREATE TABLE s (id int PRIMARY KEY, v int)', 'INSERT INTO s VALUES (1, 1), (2, 1)');
    await using stack = new AsyncDisposableStack();
    stack.use(
      await startInstance({
        source: from.url,
        target: redis.url,
        rest: 'tables:\n  - { from: public.s, redis: { key: "s:{id}", ttl: 100 } }\n',
      }),
    );
    await vi.waitFor(async () => expect(await keysOf(redis.client, 's:')).toEqual(['s:1', 's:2']), WAIT);
    expect(await redis.client.ttl('s:1')).toBeGreaterThan(90);
    await redis.client.expire('s:1', 5);
    await redis.client.del('s:2');
    await execute(from.url, 'UPDATE s SET v = 2');
    await vi.waitFor(async () => expect(await redis.client.hget('s:2', 'v')).toBe('2'), WAIT);
    expect(await redis.client.ttl('s:1')).toBeGreaterThan(90);
    await execute(from.url, 'DELETE FROM s WHERE id = 1');
    await vi.waitFor(async () => expect(await keysOf(redis.client, 's:')).toEqual(['s:2']), WAIT);
    // What guards a row that went is dropped once the stored progress has passed it.
    await vi.waitFor(async () => {
      const guards = await keysOf(redis.client, 'crossfade:scenario:gone:');
      expect(guards).toContain('crossfade:scenario:gone:{s:1}');
      for (const guard of guards) expect(await redis.client.pttl(guard)).toBeGreaterThan(0);
    }, WAIT);
  });

  test('a row that somebody let expire stays once it is written again', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, 'CREATE TABLE s (id int PRIMARY KEY, v int)', 'INSERT INTO s VALUES (1, 1)');
    await using stack = new AsyncDisposableStack();
    stack.use(
      await startInstance({ source: from.url, target: redis.url, rest: 'tables:\n  - { from: public.s, redis: { key: "s:{id}" } }\n' }),
    );
    await vi.waitFor(async () => expect(await redis.client.expire('s:1', 1000)).toBe(1), WAIT);
    await execute(from.url, 'UPDATE s SET v = 2');
    await vi.waitFor(async () => expect(await redis.client.hget('s:1', 'v')).toBe('2'), WAIT);
    expect(await redis.client.ttl('s:1')).toBe(-1);
  });

  test('a key that something else holds halts its table only; a resume goes on once it is gone', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    const tables = ['a', 'b'].map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, v int)`);
    await execute(from.url, ...tables, 'INSERT INTO a VALUES (1, 1)', 'INSERT INTO b VALUES (1, 1)');
    await using instance = await startInstance({
      source: from.url,
      target: redis.url,
      rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.*\n',
    });
    await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
    await redis.client.set('public.a:2', 'of somebody else');
    await execute(from.url, 'INSERT INTO a VALUES (2, 2), (3, 3)', 'INSERT INTO b VALUES (2, 2)');
    await vi.waitFor(async () => expect(await redis.client.hget('public.b:2', 'v')).toBe('2'), WAIT);
    await vi.waitFor(() => {
      const held = instance.status()?.tables.find(({ phase }) => phase === 'held');
      expect(held).toMatchObject({ from: 'public.a', error: expect.stringContaining('WRONGTYPE') as string });
    }, WAIT);
    await redis.client.del('public.a:2');
    await instance.post('/v1/resume', {});
    await vi.waitFor(
      async () =>
        expect(await redisHashes(redis.client, 'public.a:')).toEqual(await sourceRows(from.url, 'a', (row) => `public.a:${row['id']}`)),
      WAIT,
    );
  });

  test('a set whose name something else holds halts its table; nothing of the row is written before its sets are', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, 'CREATE TABLE a (id int PRIMARY KEY, c int, d int)', 'INSERT INTO a VALUES (1, 1, 1)');
    await using instance = await startInstance({
      source: from.url,
      target: redis.url,
      rest: 'heartbeatSeconds: 1\ntables:\n  - { from: public.a, redis: { key: "a:{id}", sets: ["c:{c}", "d:{d}"] } }\n',
    });
    await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
    await redis.client.set('d:2', 'of somebody else');
    await execute(from.url, 'UPDATE a SET c = 2, d = 2');
    await vi.waitFor(() => {
      const held = instance.status()?.tables.find(({ phase }) => phase === 'held');
      expect(held).toMatchObject({ error: expect.stringMatching(/WRONGTYPE.*the set d:2/) as string });
    }, WAIT);
    expect([await redis.client.hget('a:1', 'c'), await keysOf(redis.client, 'c:')]).toEqual(['1', ['c:1']]);
    await redis.client.del('d:2');
    await instance.post('/v1/resume', {});
    await vi.waitFor(async () => expect(await redis.client.smembers('d:2')).toEqual(['a:1']), WAIT);
    expect([await keysOf(redis.client, 'c:'), await keysOf(redis.client, 'd:')]).toEqual([['c:2'], ['d:2']]);
  });

  test('a truncate takes the rows of its table, and no other key that begins the same', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    const tables = ['CREATE TABLE a (id int PRIMARY KEY, c int)', 'CREATE TABLE aa (x int, y int, PRIMARY KEY (x, y))'];
    await execute(
      from.url,
      ...tables,
      'INSERT INTO a SELECT g, g % 3 FROM generate_series(1, 3000) g',
      'INSERT INTO aa SELECT g, g FROM generate_series(1, 100) g',
    );
    await redis.client.set('a:1:other:thing', 'stays');
    const rest =
      'tables:\n  - { from: public.a, redis: { key: "a:{id}", sets: ["by:{c}"] } }\n  - { from: public.aa, redis: { key: "a:{x}:{y}" } }\n';
    await using stack = new AsyncDisposableStack();
    stack.use(await startInstance({ source: from.url, target: redis.url, rest }));
    await vi.waitFor(async () => expect((await keysOf(redis.client, 'a:')).length).toBe(3101), WAIT);
    await execute(
      from.url,
      'BEGIN; INSERT INTO a VALUES (5000, 1); TRUNCATE a; INSERT INTO a VALUES (1, 7), (5001, NULL); COMMIT',
      'UPDATE a SET c = 8 WHERE id = 1',
    );
    await vi.waitFor(async () => expect(await redis.client.smembers('by:8')).toEqual(['a:1']), WAIT);
    const left = await keysOf(redis.client, 'a:');
    expect(left.filter((key) => key.split(':').length === 2)).toEqual(['a:1', 'a:5001']);
    expect(left.length).toBe(103);
    expect(await keysOf(redis.client, 'by:')).toEqual(['by:8']);
  });

  test('a server that is gone for a while, or full, is waited for', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(
      from.url,
      'CREATE TABLE a (id int PRIMARY KEY, v text)',
      'ALTER TABLE a REPLICA IDENTITY FULL',
      `INSERT INTO a VALUES (0, 'x')`,
    );
    await using instance = await startInstance({
      source: from.url,
      target: redis.url,
      rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.a\n',
    });
    await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
    await redis.client.config('SET', 'maxmemory', '1');
    await execute(from.url, `INSERT INTO a SELECT g, 'y' FROM generate_series(1, 50) g`);
    await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await redis.client.call('SCRIPT', 'FLUSH');
    await execute(from.url, `UPDATE a SET v = 'z' WHERE id % 2 = 0`, 'DELETE FROM a WHERE id = 7');
    await redis.client.config('SET', 'maxmemory', '0');
    await vi.waitFor(
      async () =>
        expect(await redisHashes(redis.client, 'public.a:')).toEqual(await sourceRows(from.url, 'a', (row) => `public.a:${row['id']}`)),
      WAIT,
    );
  });
});
