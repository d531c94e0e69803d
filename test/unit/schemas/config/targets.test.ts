/** `targets:`: which entry is whose, what is refused, and what each target sees of the file. */
import { describe, expect, test } from 'vitest';
import { readMigrationFile, type MigrationReading } from '#schemas/config/read-migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';

const HEAD = 'crossfade: 1\nname: shop\nsource: { postgres: "postgres://h/old" }\n';
const TARGETS = `targets:
  new: { postgres: "postgres://h/new" }
  cache: { redis: "redis://h" }
`;

function read(rest: string, options: { readonly offline?: boolean } = {}): MigrationReading {
  return readMigrationFile({ path: 'm.yaml', text: HEAD + rest, env: {}, ...options });
}

function told(rest: string): string[] {
  return read(rest).findings.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

describe('a file with several targets', () => {
  test('is signed as a whole: what was signed is no view’s own, but where there is one target only', () => {
    const both = read(`${TARGETS}tables: [{ from: public.a, target: new }, { from: public.a, target: cache }]\n`).file!;
    expect(targetFiles({ ...both, signedPlan: 'whole' }).map(({ signedPlan }) => signedPlan)).toEqual([undefined, undefined]);
    const one = read('targets: { new: { postgres: "postgres://h/new" } }\ntables: [{ from: public.a }]\n').file!;
    expect(targetFiles({ ...one, signedPlan: 'own' }).map(({ signedPlan }) => signedPlan)).toEqual(['own']);
  });

  test('is seen by each with its own entries, tests and schema steps, and nothing else', () => {
    const { file, findings } = read(`${TARGETS}tables:
  - { from: public.account, target: new }
  - { from: public.account, target: cache, redis: { key: "a:{id}" } }
  - { from: public.item, target: new }
schemaMigrations: { tool: flyway }
schemaSteps: [{ name: index, up: x, down: y, verify: z }]
tests: [{ from: public.item, target: new, given: {}, expect: none }]
`);
    expect(findings).toEqual([]);
    const [first, second] = targetFiles(file!);
    expect([first?.targetName, first?.target, first?.tables.map(({ from }) => from)]).toEqual([
      'new',
      { postgres: 'postgres://h/new' },
      ['public.account', 'public.item'],
    ]);
    expect([second?.targetName, second?.target, second?.tables.map(({ redis }) => redis?.key)]).toEqual([
      'cache',
      { redis: { url: 'redis://h', cluster: false } },
      ['a:{id}'],
    ]);
    const extras = targetFiles(file!).map(({ tests, schemaSteps, schemaMigrations, targets }) => [
      tests?.length,
      schemaSteps?.length,
      schemaMigrations?.length,
      targets,
    ]);
    expect(extras).toEqual([
      [1, 1, 1, undefined],
      [undefined, undefined, undefined, undefined],
    ]);
  });

  test('with one target that has a name is a file with one target, whose entries need not name it', () => {
    const { file, findings } = read('targets: { new: { postgres: "postgres://h/new" } }\ntables: [{ from: public.* }]\n');
    expect(findings).toEqual([]);
    expect(targetFiles(file!)).toEqual([file]);
    expect([file?.targetName, file?.target]).toEqual(['new', { postgres: 'postgres://h/new' }]);
  });

  test('without names is as it ever was', () => {
    const { file } = read('target: { postgres: "postgres://h/new" }\ntables: [{ from: public.* }]\n');
    expect(targetFiles(file!)).toEqual([file]);
    expect([file?.targetName, file?.tables[0]?.target]).toEqual([undefined, undefined]);
  });

  test('can be read without a server’s address in the environment', () => {
    const { file, findings } = read(
      `targets: { new: { postgres: "\${NEW}" }, other: { postgres: "\${OTHER}" } }
tables: [{ from: public.a, target: new }, { from: public.a, target: other }]\n`,
      { offline: true },
    );
    expect(findings).toEqual([]);
    expect(file?.targets?.map(({ name }) => name)).toEqual(['new', 'other']);
  });
});

describe('a file is refused', () => {
  test('where an entry does not say which target, or names one that is not there, all at once', () => {
    expect(
      told(`${TARGETS}tables:
  - from: public.account
  - { from: public.item, target: cash }
  - { from: public.pair, target: zzzzzzz }
  - { from: public.note, target: new, redis: { key: "n:{id}" } }
tests: [{ from: public.item, given: {}, expect: none }]
schemaSteps: [{ name: index, target: cache, up: x, down: y, verify: z }]
`),
    ).toEqual([
      '6:3 no entry of tables goes to this target'.replace('6:3', '6:10'),
      '8:5 the file has several targets: say which with target: new or cache',
      '9:34 there is no such target; did you mean "cache"?',
      '10:34 there is no such target; there are new, cache',
      '11:46 the target is not Redis, so `redis` has no meaning here',
      '12:9 the file has several targets: say which with target: new or cache',
      '13:38 target "cache" is not PostgreSQL',
    ]);
  });

  test('where target and targets stand side by side, and where neither does', () => {
    const tables = 'tables: [{ from: public.a, target: new }, { from: public.b, target: cache }]\n';
    expect(told(`target: { postgres: "postgres://h/x" }\n${TARGETS}${tables}`)).toEqual([
      '5:1 "targets": stands beside target; write one of the two'.replace('5:1', '6:3'),
    ]);
    expect(told('tables: [{ from: public.a }]\n')).toEqual([
      '1:1 "target" is missing; expected target: { postgres: URL } or target: { redis: URL }',
    ]);
    expect(told('traget: { postgres: "postgres://h/x" }\ntables: [{ from: public.a }]\n')).toEqual([
      '4:1 unknown key "traget"; did you mean "target"?',
    ]);
  });

  test('where two targets are one store, whoever logs in', () => {
    const both = 'tables: [{ from: public.a, target: a }, { from: public.b, target: b }]\n';
    expect(told(`targets:\n  a: { postgres: "postgres://x@h/new" }\n  b: { postgres: "postgresql://y:z@h:5432/new" }\n${both}`)).toEqual([
      '6:6 is the same store as target "a": each keeps its own progress there',
    ]);
    expect(told(`targets:\n  a: { redis: "redis://h" }\n  b: { redis: "redis://u:p@h:6379/0" }\n${both}`)).toHaveLength(1);
    expect(told(`targets:\n  a: { redis: "redis://h/1" }\n  b: { redis: "redis://h/2" }\n${both}`)).toEqual([]);
  });

  test('where a target has no address, two, or a name that cannot stand in a file name', () => {
    expect(told('targets:\n  a: {}\n  B-1: { redis: "redis://h" }\ntables: [{ from: public.a, target: a }]\n')).toEqual([
      expect.stringContaining('"targets.a.postgres" is missing'),
      expect.stringContaining('"targets.B-1": expected a name of small letters'),
    ]);
    expect(told('targets: {}\ntables: [{ from: public.a }]\n')).toEqual([expect.stringContaining('expected at least one target')]);
  });

  test.each([
    [
      '"redis://h:6379?db=2"',
      '4:18 "target.redis": takes no options behind ? or #: the database stands in the path, as in redis://host:6379/2',
    ],
    [
      '"redis://:a%ff@h"',
      '4:18 "target.redis": expected a URL like redis://host:6379/0, or rediss:// for TLS (percent-encode special characters of a password)',
    ],
    ['{ url: "redis://h/3", cluster: true }', '4:25 "target.redis.url": a cluster has one database, 0: take the path out'],
  ])('where an address of Redis says what nobody would read: %s', (address, message) => {
    expect(told(`target: { redis: ${address} }\ntables: [{ from: public.a }]\n`)).toEqual([message]);
  });

  test('where a table names a target and the file has one without a name', () => {
    expect(told('target: { redis: "redis://h" }\ntables: [{ from: public.a, target: new }]\n')).toEqual([
      '5:36 there is no such target: the file has one target, which has no name',
    ]);
  });

  test('where Kafka carries the log: several targets take it from the embedded one', () => {
    const tables = 'tables: [{ from: public.a, target: new }, { from: public.a, target: b }]\n';
    const targets = 'targets: { new: { postgres: "postgres://h/new" }, b: { postgres: "postgres://h/b" } }\n';
    expect(told(`${targets}${tables}log: { kafka: { brokers: ["h:9092"] } }\n`)).toEqual([
      '6:15 several targets take their rows from the embedded log in this version: take `kafka` out',
    ]);
  });
});
