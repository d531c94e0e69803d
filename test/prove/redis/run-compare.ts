/**
 * `verify` and `repair` of a Redis target while rows are written and Redis keeps the sink waiting now and then. Guarantee: it returns only when each
 * comparison named exactly what had been done to Redis, and no other row.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { explain, runCommand, type CommandOutcome } from '#services/demo/pipeline/command.ts';
import { Pipeline, type PipelineOptions } from '#services/demo/pipeline/pipeline.ts';
import { makeScratch } from '#services/demo/pipeline/scratch.ts';
import { execute, openSession } from '#test/support/application.ts';
import { startPostgres } from '#test/support/postgres.ts';
import { seeded, type Random } from '#test/support/random.ts';
import { startRedis } from '#test/support/redis/server.ts';
import { untilFollowing } from '../proof-stage.ts';
import { corrupt, type Expected } from './corrupter.ts';

const SQL = `
create table account (id int primary key, owner text, region text not null, balance numeric(12,2) not null, note text);
create table orders (id bigint primary key, total numeric, details jsonb, at timestamptz);
alter table account replica identity full;
alter table orders replica identity full;`;

function fillSql(rows: number): string {
  return `
insert into account select g, 'o' || g, 'r' || g % 20, g, case g % 2 when 0 then 'n' || g end from generate_series(1, ${rows}) g;
insert into orders select g, g * 1.5, jsonb_build_object('n', g), now() from generate_series(1, ${rows}) g;
analyze;`;
}

const TABLES = `tables:
  - { from: public.account, redis: { key: "acct:{id}", sets: ["in:{region}"] } }
  - { from: public.orders, redis: { key: "order:{id}", form: json } }
heartbeatSeconds: 1
`;

/** Of the rows these are written to all the time. */
const HOT_SHARE = 0.1;
const PER_ROUND = 4;
const WRITE_MS = 20;
const LAG_MS_MAX = 1_500;

export interface RedisCompareOptions {
  readonly rounds: number;
  readonly rows: number;
  readonly writesPerSecond: number;
  readonly seed: number;
  readonly say: (text: string) => void;
}

export async function runRedisCompare(options: RedisCompareOptions): Promise<Record<string, number>> {
  const { rounds, rows, seed, say } = options;
  const random = seeded(seed);
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(makeScratch('crossfade-prove-compare-'));
  const source = stack.use(await startPostgres({ version: 18 }));
  const redis = stack.use(await startRedis());
  const sourceUrl = await source.createDatabase('origin');
  await execute(sourceUrl, SQL, fillSql(rows));
  const file = join(directory, 'migration.yaml');
  writeFileSync(file, `crossfade: 1\nname: compared\nsource: { postgres: "${sourceUrl}" }\ntarget: { redis: "${redis.url}" }\n${TABLES}`);
  const pipeline: PipelineOptions = { file, dataDir: join(directory, 'data'), logFile: join(directory, 'crossfade.log') };
  const running = stack.use(Pipeline.start(pipeline));
  await untilFollowing(running);
  const hot = Math.ceil(rows * HOT_SHARE);
  const load = stack.use(await startLoad(sourceUrl, { ...options, random: seeded(seed + 1), hot }));
  const lag = stack.use(startLag(redis.client, seeded(seed + 2)));
  const tally = { verifies: 0, clean: 0, corruptions: 0, 'false alarms': 0 };
  const verify = async (command: 'verify' | 'repair'): Promise<readonly string[]> => {
    const answer = await runCommand<VerifyResult>([command], pipeline);
    tally.verifies++;
    if (answer.code === 0) tally.clean++;
    return named(answer);
  };
  for (let round = 1; round <= rounds; round++) {
    expectNamed(await verify('verify'), [], tally);
    const expected = await corrupt(redis.client, PER_ROUND, { random, from: hot, to: rows });
    expectNamed(await verify('verify'), expected, tally);
    tally.corruptions += expected.length;
    expectNamed(await verify('repair'), [], tally);
    say(`round ${round}: ${expected.join('; ')}`);
  }
  const writesPerSecond = await load.stop();
  const lagged = await lag.stop();
  expectNamed(await verify('verify'), [], tally);
  if (writesPerSecond < 0.9 * options.writesPerSecond) say(`only ${writesPerSecond} writes/s were made`);
  return { ...tally, 'writes per second': writesPerSecond, 'times that Redis kept the sink waiting': lagged };
}

/** As `corrupt` says them. @throws Error where verify gave no answer. */
function named(answer: CommandOutcome<VerifyResult>): string[] {
  const result = answer.envelope?.result;
  const isAnswer = answer.code === 0 || answer.code === 11 || (answer.code === 1 && result?.tables.every(isHonest) === true);
  if (!isAnswer || result === undefined) throw new Error(explain(answer));
  return result.tables.flatMap(({ from, sample }) =>
    sample.map(({ kind, key, columns }) => `${from} ${kind} ${Object.values(key ?? {}).join('/')} ${columns.join(',')}`),
  );
}

/** Rows that never lay still, or a lag that was waited for long enough. */
function isHonest({ inconclusive }: VerifyResult['tables'][number]): boolean {
  return inconclusive === undefined || ['hot', 'lag', 'in-flight'].includes(inconclusive.cause);
}

function expectNamed(found: readonly string[], expected: readonly Expected[], tally: { 'false alarms': number }): void {
  const [wrong, missed] = [found.filter((one) => !expected.includes(one)), expected.filter((one) => !found.includes(one))];
  tally['false alarms'] += wrong.length;
  if (wrong.length > 0 || missed.length > 0)
    throw new Error(`verify named wrongly: ${wrong.join('; ') || 'nothing'}; and did not name: ${missed.join('; ') || 'nothing'}`);
}

interface Stoppable extends AsyncDisposable {
  stop(): Promise<number>;
}

function untilStopped(turn: (n: number) => Promise<void>, result: (turns: number) => number): Stoppable {
  const stop = new AbortController();
  const run = async (): Promise<number> => {
    let turns = 0;
    while (!stop.signal.aborted) await turn(turns++);
    return turns;
  };
  const ran = run();
  ran.catch(() => undefined);
  const end = async (): Promise<number> => {
    stop.abort();
    return result(await ran);
  };
  return {
    stop: end,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ran.catch(() => undefined);
    },
  };
}

interface LoadOptions {
  readonly writesPerSecond: number;
  readonly random: Random;
  readonly hot: number;
}

/** Updates, deletes and inserts anew of the hot rows, at a rate; `stop` gives the rate that was reached. */
async function startLoad(sourceUrl: string, { writesPerSecond, random, hot }: LoadOptions): Promise<Stoppable> {
  const session = await openSession(sourceUrl);
  const rowsPerTurn = Math.ceil((writesPerSecond * WRITE_MS) / 1_000);
  const startedAt = performance.now();
  let written = 0;
  const load = untilStopped(
    async (turn) => {
      const ids = [...new Set(Array.from({ length: rowsPerTurn }, () => random.between(1, hot)))].toSorted((a, b) => a - b);
      const list = `ARRAY[${ids.join(',')}]`;
      const kind = random.between(0, 5);
      if (kind === 0)
        await session.query(`with gone as (delete from account where id = any(${list}) returning *)
        insert into account select id + 5000000, owner, region, balance, note from gone on conflict do nothing`);
      else if (kind === 1)
        await session.query(`insert into account select i, 'o' || i, 'r' || i % 7, 1, null from unnest(${list}) i
        on conflict (id) do update set region = excluded.region`);
      else if (kind === 2) await session.query(`update orders set total = total + 1, at = now() where id = any(${list})`);
      else if (kind === 3) await session.query(`delete from account where id = any(${list}) or id - 5000000 = any(${list})`);
      else await session.query(`update account set balance = balance + 1 where id = any(${list})`);
      written += ids.length;
      await delay(Math.max(0, startedAt + (turn + 1) * WRITE_MS - performance.now()));
    },
    () => Math.round((1_000 * written) / (performance.now() - startedAt)),
  );
  return {
    stop: () => load.stop(),
    [Symbol.asyncDispose]: async () => {
      await load[Symbol.asyncDispose]();
      await session[Symbol.asyncDispose]();
    },
  };
}

/** Redis answers readers and keeps writers waiting, again and again. */
function startLag(redis: Redis, random: Random): Stoppable {
  return untilStopped(
    async () => {
      await delay(random.between(500, 3_000));
      await redis.call('CLIENT', 'PAUSE', String(random.between(100, LAG_MS_MAX)), 'WRITE');
    },
    (turns) => turns,
  );
}
