import { describe, expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { told } from '#test/support/compile.ts';
import { compileShapes, mappingOf, type TableShape } from '#test/support/redis/mapping.ts';

const ACCOUNT: TableShape = { name: 'account', columns: ['id integer', 'owner text', 'country text'], key: ['id'] };
const PAIR: TableShape = { name: 'pair', columns: ['a integer', 'b text', 'v numeric'], key: ['a', 'b'] };
const CLUSTER = 'target: { redis: { url: "redis://h:6379", cluster: true } }';

function wrong(tables: string, shapes: readonly TableShape[] = [ACCOUNT], target?: string): string[] {
  return told(compileShapes(tables, shapes, target).findings);
}

describe('a mapping onto Redis', () => {
  test('has a key of schema, table and key columns where the file says nothing; a row is a hash', () => {
    const { tables } = mappingOf('  - from: public.*\n', [ACCOUNT, PAIR]);
    expect(tables.map(({ redis }) => [redis!.key.text, redis!.form, redis!.sets])).toEqual([
      ['public.account:{id}', 'hash', []],
      ['public.pair:{a}:{b}', 'hash', []],
    ]);
  });

  test('takes columns by their names on the target; what is dropped is not there', () => {
    const { tables, hash } = mappingOf(
      '  - { from: public.account, to: shop.client, columns: { id: number, owner: name }, drop: [country], redis: { key: "client:{number}", form: json, ttl: 3600 } }\n',
      [ACCOUNT],
    );
    expect(tables[0]).toMatchObject({
      to: { schema: 'shop', name: 'client' },
      targetKey: ['number'],
      redis: { form: 'json', ttlSeconds: 3600 },
    });
    expect(tables[0]!.columns.map(({ target }) => target)).toEqual(['number', 'name']);
    expect(hash).not.toBe(mappingOf('  - from: public.account\n', [ACCOUNT]).hash);
  });

  test('takes a source table once', () => {
    const tables = '  - { from: public.account, to: a.one }\n  - { from: public.account, to: a.two }\n';
    expect(wrong(tables)).toContain('7:13 CF-4001 public.account goes to 2 tables, and to Redis it can go once');
  });

  test('tells everything that is wrong with it at once, each in its place', () => {
    const tables = `  - from: public.account
    columns: { owner: { cast: varchar(10) } }
    redis: { key: "acct:{owner}", sets: ["by:{contry}"] }
  - from: public.pair
    onRowError: set-aside
    redis: { key: "acct:{a}", ttl: 60, sets: ["all"] }
`;
    expect(wrong(tables, [ACCOUNT, PAIR])).toEqual([
      '7:16 CF-4001 column "owner" is cast, and Redis has no types to cast to',
      '8:5 CF-4001 public.account: the template by:{contry} names the column "contry", which the row does not have; did you mean "country"?',
      '8:5 CF-4001 public.account: the key acct:{owner} lacks the key column "id", so two rows could have one key',
      '8:5 CF-4001 public.account: the key acct:{owner} holds "owner", which is no key column: the row would move whenever it changes',
      '9:11 CF-4001 rows of public.pair cannot be set aside on a Redis target',
      '11:5 CF-4001 public.pair has both ttl and sets: a row that expires could not leave its sets',
      '11:5 CF-4001 public.pair: the key acct:{a} lacks the key column "b", so two rows could have one key',
    ]);
  });

  test('offers neither soft deletes nor ignored ones', () => {
    const refused = (name: string): string =>
      `7:5 CF-4001 rows of public.${name} that the source deletes or truncates go from Redis too: nothing else is offered there`;
    expect(wrong('  - from: public.account\n    deletes: { soft: { at: owner } }\n')).toEqual([refused('account')]);
    expect(wrong('  - from: public.account\n    deletes: ignore\n')).toEqual([refused('account')]);
    expect(wrong('  - from: public.account\n    truncates: halt\n')).toEqual([refused('account').replace('7:5', '6:11')]);
    expect(wrong('  - from: public.account\n    deletes: hard\n    truncates: apply\n')).toEqual([]);
  });

  test('refuses a table without a key, a partial identity, and our own field’s name', () => {
    const loose = { name: 'loose', columns: ['v integer'] };
    expect(wrong('  - from: public.loose\n', [loose])).toEqual([
      '6:11 CF-2008 public.loose has no key, so its rows have no key in Redis either',
    ]);
    expect(wrong('  - from: public.account\n', [{ ...ACCOUNT, replicaIdentity: 'd' }])).toEqual([
      '6:11 CF-2008 public.account goes to Redis, and "owner" may be left out of an update (unchanged TOAST), so its replica identity must be FULL',
    ]);
    expect(compileShapes('  - from: public.account\n', [{ ...ACCOUNT, replicaIdentity: 'd' }]).findings[0]?.remedy).toBe(
      'Run on the source: ALTER TABLE "public"."account" REPLICA IDENTITY FULL;',
    );
    expect(wrong('  - { from: public.account, drop: [owner, country] }\n', [{ ...ACCOUNT, replicaIdentity: 'd' }])).toEqual([]);
    expect(wrong('  - { from: public.account, columns: { owner: _cf } }\n')).toEqual([
      '6:13 CF-4001 public.account: the column name _cf is our own',
    ]);
  });

  test('refuses tables and sets that could have the same key', () => {
    const tables =
      '  - { from: public.account, redis: { key: "x:{id}" } }\n  - { from: public.pair, redis: { key: "x:{a}:{b}", sets: ["x:{a}"] } }\n';
    expect(wrong(tables, [ACCOUNT, PAIR])).toEqual(['7:26 CF-4001 the set x:{a} of public.pair could be a row of public.account: x:{id}']);
    expect(wrong('  - { from: public.*, redis: { key: "x:{id}" } }\n', [ACCOUNT, { ...ACCOUNT, name: 'other' }])).toEqual([
      '6:23 CF-4001 rows of public.account and public.other could have the same key: x:{id} and x:{id}',
    ]);
  });

  test('in a cluster wants a row and its sets in one slot', () => {
    const of = (redis: string): string[] => wrong(`  - { from: public.account, redis: ${redis} }\n`, [ACCOUNT], CLUSTER);
    expect(of('{ key: "acct:{id}" }')).toEqual([]);
    expect(of('{ key: "{{shop}}:{id}", sets: ["{{shop}}:by:{country}"] }')).toEqual([]);
    expect(of('{ key: "acct:{id}", sets: ["by:{country}"] }')).toEqual([
      '6:29 CF-4001 public.account: in a cluster the set by:{country} must lie in the slot of its row acct:{id}',
    ]);
    expect(of('{ key: "acct:{{{id}}}" }')).toEqual(['6:29 CF-4001 public.account: the hash tag of acct:{{{id}}} may be empty']);
  });
});

describe('the file of a Redis target', () => {
  const read = (text: string, env: Record<string, string> = {}): string[] =>
    told(
      readMigrationFile({ path: 'm.yaml', text: `crossfade: 1\nname: m\nsource: { postgres: "postgres://h/a" }\n${text}`, env }).findings,
    );

  test('names a server by a URL, a block, or a reference to the environment', () => {
    const { file } = readMigrationFile({
      path: 'm.yaml',
      text: 'crossfade: 1\nname: m\nsource: { postgres: "postgres://h/a" }\ntarget: { redis: { url: "${R}", cluster: true } }\ntables: [{ from: a.b }]\n',
      env: { R: 'rediss://u:p%40@h:6380' },
    });
    expect(file?.target).toEqual({ redis: { url: 'rediss://u:p%40@h:6380', cluster: true } });
  });

  test('is refused with all that is wrong, and no secret is told', () => {
    expect(
      read('target: { redis: "http://u:secret@h" }\ntables:\n  - { from: a.b, redis: { form: list, ttl: 0, kye: "x", sets: [""] } }\n'),
    ).toEqual([
      '4:18 CF-1004 "target.redis": expected a URL like redis://host:6379/0, or rediss:// for TLS (percent-encode special characters of a password)',
      '6:33 CF-1004 "tables[0].redis.form": expected hash or json',
      '6:44 CF-1004 "tables[0].redis.ttl": expected a whole number from 1 to 316224000',
      '6:47 CF-1004 unknown key "kye" in "tables[0].redis"; did you mean "key"?',
      '6:64 CF-1004 "tables[0].redis.sets[0]": expected a template like acct:{id}',
    ]);
    expect(read('target: { redis: "redis://h", postgres: "postgres://h/b" }\ntables: [{ from: a.b }]\n')).toEqual([
      '4:41 CF-1004 "target.postgres": stands beside redis; expected one target',
    ]);
    expect(read('target: { redis: "redis://h" }\nlog: { kafka: { brokers: ["k:9092"] } }\ntables: [{ from: a.b }]\n')).toEqual([
      '5:15 CF-1004 a Redis target takes its rows from the embedded log in this version: take `kafka` out',
    ]);
    expect(read('target: { postgres: "postgres://h/b" }\ntables: [{ from: a.b, redis: { ttl: 1 } }]\n')).toEqual([
      '5:30 CF-1004 the target is not Redis, so `redis` has no meaning here',
    ]);
  });
});
