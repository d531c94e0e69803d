/** Commands with a Redis target, as an operator runs them. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Envelope } from '#schemas/envelope.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { redisHashes, sourceRows } from '#test/support/redis/rows.ts';
import { startRedis } from '#test/support/redis/server.ts';

const SOURCE = [
  'CREATE TABLE account (id int PRIMARY KEY, owner text)',
  'ALTER TABLE account REPLICA IDENTITY FULL',
  `INSERT INTO account SELECT g, 'o' || g FROM generate_series(1, 300) g`,
];

const ROOT = join(import.meta.dirname, '..', '..', '..');

interface Stage {
  readonly run: (...args: string[]) => Promise<{ readonly exitCode: number; readonly envelope: Envelope; readonly all: string }>;
}

function stage(source: string, target: string, tables = '  - { from: public.account, redis: { key: "acct:{id}" } }'): Stage {
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-redis-cli-'));
  const text = `crossfade: 1\nname: onredis\nsource: { postgres: "${source}" }\ntarget: { redis: "\${REDIS}" }\ntables:\n${tables}\n`;
  writeFileSync(join(directory, 'migration.yaml'), text);
  return {
    run: async (...args) => {
      const ran = await runInProcess([...args, '--json'], { directory, environment: { REDIS: target } });
      return { exitCode: ran.exitCode, envelope: envelopeOf(ran), all: ran.stdout + ran.stderr };
    },
  };
}

describeWithRedis('with a Redis target', () => {
  test('check, up --until caught-up and status work, started again goes on, verify compares without an instance, dlq refuses; no secret is told', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis({ requirepass: 'open-sesame' });
    await execute(from.url, ...SOURCE);
    const { run } = stage(from.url, redis.url);
    const checked = await run('check');
    expect([checked.exitCode, checked.envelope.findings.map(({ message }) => message)]).toEqual([0, []]);
    const planned = await run('status');
    expect(planned.envelope.result).toMatchObject({
      phase: 'planned',
      tables: [{ from: 'public.account', to: 'public.account', phase: 'waiting' }],
    });
    const first = await run('up', '--until', 'caught-up', '--port', '0');
    expect(first.exitCode, first.all).toBe(0);
    await execute(from.url, `UPDATE account SET owner = 'later' WHERE id < 10`, 'DELETE FROM account WHERE id > 290');
    expect((await run('up', '--until', 'caught-up', '--port', '0')).exitCode).toBe(0);
    expect(await redisHashes(redis.client, 'acct:')).toEqual(await sourceRows(from.url, 'account', (row) => `acct:${row['id']}`));
    const status = await run('status');
    expect(status.envelope.result).toMatchObject({
      phase: 'following',
      applied: { exact: false },
      tables: [{ phase: 'following', rowsCopied: 300, changesApplied: 19 }],
      lag: { known: true },
    });
    expect((status.envelope.result as { applied: { lsn: unknown } }).applied.lsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    const moved = stage(from.url, redis.url, '  - { from: public.account, redis: { key: "client:{id}" } }');
    const other = await moved.run('up', '--until', 'caught-up', '--port', '0');
    expect([other.exitCode, other.envelope.error?.code]).toEqual([1, 'CF-5006']);
    const refused = await run('dlq', 'list');
    expect([refused.exitCode, refused.envelope.error?.code]).toEqual([2, 'CF-5010']);
    const equal = await run('verify');
    expect([equal.exitCode, equal.envelope.result], equal.all).toMatchObject([0, { differences: 0, inconclusive: 0 }]);
    await redis.client.hset('acct:33', 'owner', 'somebody');
    const differs = await run('verify');
    expect([differs.exitCode, differs.envelope.result]).toMatchObject([
      11,
      { tables: [{ sample: [{ key: { id: '33' }, columns: ['owner'] }] }] },
    ]);
    expect((await run('status')).envelope.result).toMatchObject({ drift: 1 });
    for (const { all } of [checked, first, status, equal, differs]) expect(all).not.toContain('open-sesame');
  });

  test('a user with the rights that docs/redis.md names is enough', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, ...SOURCE);
    const documented = /\*\*ACL\*\*: `~crossfade:\* ~acct:\* … ([^`]+)`/.exec(readFileSync(join(ROOT, 'docs', 'redis.md'), 'utf8'))?.[1];
    const rights = ['~crossfade:*', '~acct:*', '~by:*', ...(documented ?? '').split(' ')];
    await redis.client.call('ACL', 'SETUSER', 'mover', 'on', '>secret', ...rights);
    const tables = '  - { from: public.account, redis: { key: "acct:{id}", sets: ["by:{owner}"] } }';
    const { run } = stage(from.url, redis.url.replace('redis://', 'redis://mover:secret@'), tables);
    expect((await run('check')).envelope).toMatchObject({ ok: true, findings: [] });
    expect((await run('up', '--until', 'caught-up', '--port', '0')).exitCode).toBe(0);
    await execute(from.url, 'TRUNCATE account', `INSERT INTO account VALUES (1, 'x')`, `UPDATE account SET owner = 'y'`);
    const again = await run('up', '--until', 'caught-up', '--port', '0');
    expect(again.exitCode, again.all).toBe(0);
    expect(await redis.client.smembers('by:y')).toEqual(['acct:1']);
    await redis.client.call('ACL', 'SETUSER', 'mover', 'resetkeys', '~crossfade:*', '~acct:*');
    await execute(from.url, `UPDATE account SET owner = 'x'`);
    const withoutSets = await run('up', '--until', 'caught-up', '--port', '0');
    expect([withoutSets.exitCode, withoutSets.envelope.error?.code]).toEqual([3, 'CF-5002']);
    expect(await redis.client.hget('acct:1', 'owner'), 'no row without its sets').toBe('y');
    await redis.client.call('ACL', 'SETUSER', 'mover', '~by:*');
    expect((await run('up', '--until', 'caught-up', '--port', '0')).exitCode).toBe(0);
    expect([await redis.client.smembers('by:x'), await redis.client.smembers('by:y')]).toEqual([['acct:1'], []]);
    await redis.client.call('ACL', 'SETUSER', 'mover', 'resetkeys', '~crossfade:*');
    await execute(from.url, `UPDATE account SET owner = 'z'`);
    const refused = await run('up', '--until', 'caught-up', '--port', '0');
    expect([refused.exitCode, refused.envelope.error?.code]).toEqual([3, 'CF-5002']);
  });

  test('check names the commands and keys that a user may not use, and the line that grants them', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, ...SOURCE);
    const url = redis.url.replace('redis://', 'redis://mover:secret@');
    const table = (rest: string): string => `  - { from: public.account, redis: { key: "acct:{id}"${rest} } }`;
    const rights = async (...words: string[]): Promise<unknown> =>
      redis.client.call('ACL', 'SETUSER', 'mover', 'reset', 'on', '>secret', ...words);
    const told = async (tables: string): Promise<string[]> => {
      const { envelope } = await stage(from.url, url, tables).run('check');
      return envelope.findings.map(({ severity, code, message, remedy }) => `${severity} ${code} ${message}. ${remedy ?? ''}`);
    };
    const missing = (commands: string, line: string): string =>
      `error CF-5002 the user mover of Redis may not run ${commands}. Run on the server: ACL SETUSER mover ${line}`;
    const unreached = (keys: string, line: string): string =>
      `error CF-5002 the user mover of Redis may not reach the keys ${keys}. Run on the server: ACL SETUSER mover ${line}`;
    await rights('~crossfade:*', '~acct:*', '+@all', '-expire', '-persist', '-getrange');
    expect(await told(table(''))).toEqual([missing('PERSIST', '+persist')]);
    expect(await told(table(', ttl: 60'))).toEqual([missing('EXPIRE', '+expire')]);
    expect(await told(table(', form: json, ttl: 60'))).toEqual([missing('GETRANGE', '+getrange')]);
    await redis.client.call('ACL', 'SETUSER', 'mover', '+persist');
    expect(await told(table(''))).toEqual([]);
    expect(await told(table(', sets: ["by:{owner}"]'))).toEqual([unreached('by:*', '~by:*')]);
    await rights('~acct:*', '+@all');
    expect(await told(table(''))).toEqual([unreached('crossfade:*', '~crossfade:*')]);
    await rights('~crossfade:*', '~acct:*', '+@all', '-@scripting');
    expect(await told(table(''))).toEqual([missing('EVAL', '+@scripting')]);
    await rights('~crossfade:*', '~acct:*', '+@read', '+@scripting', '+@connection');
    const [readOnly = ''] = await told(table(''));
    expect(readOnly).toMatch(/may not run HSET, .*HINCRBY, SET, DEL, UNLINK, PEXPIRE, ZADD, ZREMRANGEBYRANK, INFO, HDEL, PERSIST\. /);
    const line = /ACL SETUSER mover (.+)$/.exec(readOnly)?.[1] ?? '';
    await redis.client.call('ACL', 'SETUSER', 'mover', ...line.split(' '));
    expect(await told(table(''))).toEqual([]);
    // The very look has left nothing behind, and taken nothing away.
    expect(await redis.client.dbsize()).toBe(0);
  });

  test('check tells of a server that may lose rows, of keys that are there already, and of a wrong password', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis({ appendonly: 'no', 'maxmemory-policy': 'allkeys-lru', requirepass: 'open-sesame' });
    await execute(from.url, ...SOURCE);
    await redis.client.hset('acct:7', 'id', '7');
    const { exitCode, envelope } = await stage(from.url, redis.url).run('check');
    expect(exitCode).toBe(2);
    expect(envelope.findings.map(({ severity, code, message }) => `${severity} ${code} ${message}`)).toEqual([
      'error CF-5004 Redis already holds keys of public.account (acct:{id})',
      'warning CF-5008 Redis keeps nothing on disk: after a restart all rows are gone, and the progress with them',
      'warning CF-5008 Redis may drop keys when its memory is full (maxmemory-policy allkeys-lru): rows, and what guards them, would be lost',
    ]);
    const merging = stage(from.url, redis.url, '  - { from: public.account, existing: merge, redis: { key: "acct:{id}" } }');
    expect((await merging.run('check')).exitCode).toBe(0);
    const wrong = await stage(from.url, redis.url.replace('open-sesame', 'not-it')).run('check');
    expect([wrong.exitCode, wrong.envelope.error?.code]).toEqual([3, 'CF-5002']);
    expect(wrong.all).not.toMatch(/open-sesame|not-it/);
    const nowhere = await stage(from.url, 'redis://127.0.0.1:1').run('check');
    expect([nowhere.exitCode, nowhere.envelope.error?.code]).toEqual([3, 'CF-5001']);
  });
});
