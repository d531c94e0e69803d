/** `crossfade verify` with checks: what it prints, its exit codes, and tables that several source tables share. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { runInProcess, type CommandRun } from '#test/support/command-line.ts';
import { play, type Played } from './played-pipeline.ts';

const SOURCE = `
CREATE TABLE eu (id int PRIMARY KEY, total numeric NOT NULL, note text); CREATE TABLE us (id int PRIMARY KEY, total numeric NOT NULL, note text);
CREATE TABLE owner (id int PRIMARY KEY, name text UNIQUE);
INSERT INTO eu SELECT g, g, 'e' FROM generate_series(1, 30) g; INSERT INTO us SELECT g, g * 2, 'u' FROM generate_series(1, 20) g;
INSERT INTO owner SELECT g, 'o' || g FROM generate_series(1, 5) g`;
const TARGET = `
CREATE TABLE item (shard text, id int, total numeric NOT NULL, note text, PRIMARY KEY (shard, id));
CREATE TABLE owner (id int PRIMARY KEY, name text UNIQUE);
INSERT INTO item SELECT 'eu', g, g, 'e' FROM generate_series(1, 30) g; INSERT INTO item SELECT 'us', g, g * 2, 'u' FROM generate_series(1, 20) g;
INSERT INTO owner SELECT g, 'o' || g FROM generate_series(1, 5) g`;
const TABLES = `  - { from: public.eu, to: public.item, set: { shard: { value: eu } } }
  - { from: public.us, to: public.item, set: { shard: { value: us } } }
  - { from: public.owner }
`;
const CHECKS = `checks:
  - { name: totals, table: public.item, sum: total, groupBy: note }
  - { name: united, sql: { source: "select sum(total) from {public.eu}", target: "select sum(total) from {public.item} where shard = 'eu'" } }
  - { name: array, sql: "select '{1.5,2}'::numeric[], name from {public.owner} order by id desc -- all of them", ordered: true }
`;

interface World extends AsyncDisposable {
  readonly pipeline: Played;
  readonly verify: (checks: string, ...args: readonly string[]) => Promise<CommandRun>;
}

async function world(): Promise<World> {
  const pipeline = await play({ sourceSql: SOURCE, targetSql: TARGET, tables: TABLES });
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-checks-'));
  return {
    pipeline,
    verify: async (checks, ...args) => {
      const head = `crossfade: 1\nname: played\nsource: { postgres: "${pipeline.sourceUrl}" }\ntarget: { postgres: "${pipeline.targetUrl}" }\n`;
      await writeFile(join(directory, 'migration.yaml'), `${head}tables:\n${TABLES}${checks}`);
      return runInProcess(['verify', ...args], { directory });
    },
    [Symbol.asyncDispose]: async () => {
      await pipeline[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function resultOf({ stdout }: CommandRun): VerifyResult {
  return (JSON.parse(stdout) as { readonly result: VerifyResult }).result;
}

test('verify tells each check, and ends with 11 where one differs though no row does', async () => {
  await using shop = await world();
  const clean = await shop.verify(CHECKS);
  expect([clean.exitCode, clean.stderr]).toEqual([0, expect.any(String) as string]);
  for (const line of [/^totals +sum +2 rows +2 rows +equal$/m, /^united +sql +465 +465 +equal$/m, /^array +sql .*equal$/m])
    expect(clean.stdout).toMatch(line);
  expect(clean.stdout).toContain('Built-in checks without a finding: 3 of structure');

  const tight = await shop.verify(
    `checks:\n  - { name: floor, sql: { target: "select min(total) from {public.item}" }, expect: 2, tolerance: 0.5 }\n`,
  );
  expect([tight.exitCode, tight.stdout + tight.stderr]).toEqual([
    11,
    expect.stringContaining('floor: one row differs in min (source 2, target 1, tolerance 0.5)') as string,
  ]);
  const json = await shop.verify(CHECKS, '--json');
  expect(resultOf(json).checks?.map(({ name, kind, verdict }) => [name, kind, verdict])).toEqual([
    ['totals', 'sum', 'equal'],
    ['united', 'sql', 'equal'],
    ['array', 'sql', 'equal'],
    ...['public.item', 'public.owner', 'public.item'].flatMap((table) => [
      [`rows of ${table}`, 'rows', 'equal'],
      [`digest of ${table}`, 'digest', 'equal'],
    ]),
    ...['public.item', 'public.owner', 'public.item'].map((table) => [`structure of ${table}`, 'structure', 'equal']),
  ]);
});

test('a missing unique key is warned of, and no drift', async () => {
  await using shop = await world();
  await shop.pipeline.target.query('ALTER TABLE owner DROP CONSTRAINT owner_name_key');
  const found = await shop.verify(CHECKS);
  expect([found.exitCode, found.stdout + found.stderr]).toEqual([0, expect.stringContaining('the unique key (name) is missing') as string]);
  expect((await shop.verify(CHECKS, '--rows-only', '--json')).exitCode).toBe(0);
  // Only checks that read no other table.
  const some = await shop.verify(CHECKS, '--table', 'public.eu', '--json');
  expect([some.exitCode, resultOf(some).checks?.map(({ name }) => name)]).toEqual([
    0,
    ['rows of public.item', 'digest of public.item', 'structure of public.item'],
  ]);
});

test('what cannot be asked at one state is not judged, and ends with 1; a declaration that does not fit with 2', async () => {
  await using shop = await world();
  // Nothing follows: the target lacks this, and rows that are told apart by constants are not laid over one another.
  await shop.pipeline.source.query('UPDATE eu SET total = total + 1 WHERE id = 1');
  const behind = await shop.verify(CHECKS, '--json');
  expect(behind.exitCode).toBe(1);
  expect(resultOf(behind)).toMatchObject({ differences: 0, inconclusive: 0 });
  expect(
    resultOf(behind)
      .checks?.slice(0, 3)
      .map(({ name, verdict, cause }) => [name, verdict, cause]),
  ).toEqual([
    ['totals', 'inconclusive', 'changed'],
    ['united', 'inconclusive', 'changed'],
    ['array', 'equal', undefined],
  ]);
  const refused = await shop.verify(`checks:\n  - { name: wrong, sql: "select nosuch from {public.owner}" }\n`, '--json');
  expect([refused.exitCode, resultOf(refused).checks?.[0]]).toMatchObject([
    1,
    { verdict: 'inconclusive', message: expect.stringContaining('42703') as string },
  ]);
  const two = await shop.verify(`checks:\n  - { name: wrong, sql: "select 1 from {public.owner}; drop table owner" }\n`, '--json');
  expect([two.exitCode, resultOf(two).checks?.[0]?.verdict]).toEqual([1, 'inconclusive']);
  const unfit = await shop.verify(`checks:\n  - { name: wrong, table: public.itme, sum: total }\n`);
  expect([unfit.exitCode, unfit.stderr + unfit.stdout]).toEqual([
    2,
    expect.stringMatching(/CF-4001 migration.yaml:\d+:\d+ .*did you mean "public.item"/) as string,
  ]);
});
