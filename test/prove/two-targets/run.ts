/**
 * `up` with a PostgreSQL and a Redis target, killed again and again under load; the PostgreSQL server goes away for a while, and a second
 * PostgreSQL target is added later. Guarantee: it returns only when each target holds exactly the source's rows, by SQL and plain commands
 * of the test's own and by `verify`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { parseLsn } from '#schemas/lsn.ts';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline, type PipelineOptions, type PipelineStatus } from '#services/demo/pipeline/pipeline.ts';
import { makeScratch } from '#services/demo/pipeline/scratch.ts';
import { execute } from '#test/support/application.ts';
import { type PostgresServer, startPostgres } from '#test/support/postgres.ts';
import { seeded } from '#test/support/random.ts';
import { startRedis, type RedisServer } from '#test/support/redis/server.ts';
import { startLoad } from '../kill/load.ts';
import { planKills, type Strike } from '../kill/plan.ts';
import { CHUNK_ROWS, sourceSql } from '../kill/tables.ts';
import { compareRedis, killOnce, untilCaughtUp } from '../redis/run-kills.ts';

const WRITERS = 3;
const POLL_MS = 100;
const PATIENCE_MS = 120_000;
const FULL_IDENTITY = ['item', 'pair'].map((name) => `alter table ${name} replica identity full;`).join('\n');
const SLOW_COPY = ', chunkTargetMs: 10, maxRowsPerSecond: 2000';

/** The tables of the load, and one that takes rows of another apart. */
const TARGET = `create table acct (id integer primary key, op bigint not null, balance bigint not null);
create table item (id bigint primary key, op bigint not null, payload text not null);
create table part (a integer, b text collate "C", op bigint not null, amount numeric(14,4), kind text not null, primary key (a, b));
create table keyless (op bigint not null, note text);`;

const SAME = [
  ['select id, op, balance from acct order by id', 'select id, op, balance from acct order by id'],
  ['select id, op, payload from item order by id', 'select id, op, payload from item order by id'],
  [`select a, b, op, amount, 'x' as kind from pair order by a, b`, 'select a, b, op, amount, kind from part order by a, b'],
  ['select op, note from keyless order by op, note', 'select op, note from keyless order by op, note'],
] as const;

interface Stage {
  readonly sourceUrl: string;
  readonly redis: RedisServer;
  readonly target: PostgresServer;
  readonly pipeline: PipelineOptions;
  /** URLs of the PostgreSQL targets by name. */
  readonly databases: Readonly<Record<string, string>>;
  readonly say: (text: string) => void;
}

function writeFile({ pipeline, sourceUrl, redis, databases }: Stage, names: readonly string[], copy = ''): void {
  const addresses = names.map((name) => `  ${name}: { postgres: "${databases[name]}" }\n`).join('');
  const tables = names.map(
    (name) => `  - { from: public.acct, target: ${name} }
  - { from: public.item, target: ${name} }
  - { from: public.pair, target: ${name}, to: public.part, set: { kind: { value: x } } }
  - { from: public.keyless, target: ${name} }
`,
  );
  writeFileSync(
    pipeline.file,
    `crossfade: 1
name: killed
source: { postgres: "${sourceUrl}" }
targets:
  cache: { redis: "${redis.url}" }
${addresses}tables:
${tables.join('')}  - { from: public.acct, target: cache, redis: { key: "acct:{id}" } }
  - { from: public.item, target: cache, redis: { key: "item:{id}", form: json } }
  - { from: public.pair, target: cache, redis: { key: "pair:{a}:{b}", sets: ["pairs_of:{a}"] } }
  - { from: public.journal, target: cache }
copy: { parallel: 2, chunkRows: ${CHUNK_ROWS}${copy} }
heartbeatSeconds: 1
`,
  );
}

export interface TwoTargetsOptions {
  readonly kills: number;
  readonly rows: number;
  readonly seed: number;
  readonly say: (text: string) => void;
}

export interface TwoTargetsFigures {
  readonly 'keys compared': number;
  readonly 'rows compared': number;
  readonly 'changes applied while a target was away': number;
}

export async function runTwoTargets({ kills, rows, seed, say }: TwoTargetsOptions): Promise<TwoTargetsFigures & Record<string, number>> {
  const random = seeded(seed);
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(makeScratch('crossfade-prove-two-'));
  const source = stack.use(await startPostgres({ version: 18 }));
  const target = stack.use(await startPostgres({ version: 18 }));
  const redis = stack.use(await startRedis());
  const sourceUrl = await source.createDatabase('origin');
  const databases = { new: await target.createDatabase('new'), late: await target.createDatabase('late') };
  await execute(sourceUrl, sourceSql(rows), FULL_IDENTITY);
  for (const url of Object.values(databases)) await execute(url, TARGET);
  const pipeline = { file: join(directory, 'migration.yaml'), dataDir: join(directory, 'data'), logFile: join(directory, 'crossfade.log') };
  const stage: Stage = { sourceUrl, redis, target, pipeline, databases, say };
  const load = stack.use(await startLoad(stage, WRITERS, () => random.next() * 2 - 1));
  const plan = planKills(kills, 0.5, random);
  writeFile(stage, ['new'], SLOW_COPY);
  for (const strike of plan.copying) await killOnce(stage, strike, say);
  writeFile(stage, ['new']);
  for (const strike of plan.following) await killOnce(stage, strike, say);
  const meanwhile = await outage(stage);
  writeFile(stage, ['new', 'late'], SLOW_COPY);
  const joining: Strike[] = [
    { kind: 'failpoint', group: 'changeover', point: 'target.join', count: 1 },
    { kind: 'outside', afterMs: random.between(500, 2_500) },
    { kind: 'failpoint', group: 'chunk', point: 'chunk.durable', count: 2 },
  ];
  for (const strike of joining) await killOnce(stage, strike, say);
  writeFile(stage, ['new', 'late']);
  await untilCaughtUp(stage);
  await verified(stage, async () => void (await load.stop()));
  await untilCaughtUp(stage);
  const compared = await Promise.all(Object.values(databases).map(async (url) => compareTables(sourceUrl, url)));
  return {
    'keys compared': await compareRedis(stage),
    'rows compared': compared.reduce((sum, count) => sum + count, 0),
    'changes applied while a target was away': meanwhile,
  };
}

/** While the PostgreSQL target is away Redis goes on; afterwards it catches up by itself. @returns changes that Redis took meanwhile */
async function outage(stage: Stage): Promise<number> {
  await using pipeline = Pipeline.start(stage.pipeline);
  await pipeline.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: PATIENCE_MS });
  await stage.target.kill();
  await pipeline.waitFor((status) => targetOf(status, 'new')?.connected === false, { what: 'told of the loss', timeoutMs: PATIENCE_MS });
  const before = changesOf(await pipeline.status());
  const [row] = await execute(stage.sourceUrl, `insert into journal values (nextval('op'), 7) returning op`);
  const deadline = Date.now() + PATIENCE_MS;
  while ((await stage.redis.client.exists(`public.journal:${row?.['op']}`)) === 0) {
    if (Date.now() > deadline) throw new Error(`Redis got nothing while the other target was away\n${pipeline.logTail()}`);
    await delay(POLL_MS);
  }
  const meanwhile = changesOf(await pipeline.status()) - before;
  await stage.target.start();
  const [end] = await execute(stage.sourceUrl, 'select pg_current_wal_lsn() as lsn');
  const wanted = parseLsn(end?.['lsn'] ?? '0/0');
  await pipeline.waitFor((status) => parseLsn(targetOf(status, 'new')?.applied.lsn ?? '0/0') >= wanted, {
    what: 'caught up after the outage',
    timeoutMs: PATIENCE_MS,
  });
  stage.say(`PostgreSQL was away; Redis took ${meanwhile} changes meanwhile`);
  const ended = await pipeline.stop();
  if (ended.code !== 0) throw new Error(`crossfade up ended with ${ended.code}\n${pipeline.logTail()}`);
  return meanwhile;
}

function targetOf({ targets = [] }: PipelineStatus, name: string): NonNullable<PipelineStatus['targets']>[number] | undefined {
  return targets.find((one) => one.name === name);
}

function changesOf(status: PipelineStatus | undefined): number {
  const own = (status?.tables ?? []).filter(({ target }) => target === 'cache');
  return own.reduce((sum, { changesApplied }) => sum + changesApplied, 0);
}

/** Each PostgreSQL target is clean under load, and once more when the load is over, then Redis with them. */
async function verified(stage: Stage, stopLoad: () => Promise<void>): Promise<void> {
  await using pipeline = Pipeline.start(stage.pipeline);
  await pipeline.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: PATIENCE_MS });
  for (const target of Object.keys(stage.databases)) await verifyOne(stage, target, KEYED);
  await stopLoad();
  for (const target of Object.keys(stage.databases)) await verifyOne(stage, target);
  const whole = await runCommand<VerifyResult>(['verify'], stage.pipeline);
  if (whole.code !== 0) throw new Error(`verify of all targets: ${explain(whole)}`);
  const ended = await pipeline.stop();
  if (ended.code !== 0) throw new Error(`crossfade up ended with ${ended.code}\n${pipeline.logTail()}`);
}

/** Under load: a table without a key is judged once it is quiet. */
const KEYED = ['acct', 'item', 'pair'].flatMap((table) => ['--table', `public.${table}`]);

async function verifyOne({ pipeline, say }: Stage, target: string, options: readonly string[] = []): Promise<void> {
  const answer = await runCommand<VerifyResult>(['verify', '--target', target, ...options], pipeline);
  if (answer.code !== 0) throw new Error(`verify --target ${target}: ${explain(answer)}`);
  say(`verify --target ${target}: ${answer.envelope?.summary ?? ''}`);
}

async function compareTables(sourceUrl: string, targetUrl: string): Promise<number> {
  let rows = 0;
  for (const [query, counterpart] of SAME) {
    const [source, target] = await Promise.all([execute(sourceUrl, query), execute(targetUrl, counterpart)]);
    rows += source.length;
    const at = source.findIndex((row, i) => !isDeepStrictEqual(row, target[i]));
    if (source.length === target.length && at < 0) continue;
    throw new Error(
      `${counterpart}: ${source.length} rows and ${target.length}; ${JSON.stringify(source[at])} is ${JSON.stringify(target[at])}`,
    );
  }
  return rows;
}
