/**
 * `up` with a Redis target, killed again and again under load, from its first chunk to long after the change-over. Guarantee: it returns
 * only when Redis holds exactly the source's rows (hashes, JSON strings and sets), by SQL and plain commands of the test's own.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Pipeline, type PipelineOptions } from '#services/demo/pipeline/pipeline.ts';
import { makeScratch } from '#services/demo/pipeline/scratch.ts';
import { execute } from '#test/support/application.ts';
import { startPostgres } from '#test/support/postgres.ts';
import { seeded } from '#test/support/random.ts';
import { keysOf, redisHashes, redisObjects, sourceRows } from '#test/support/redis/rows.ts';
import { startRedis, type RedisServer } from '#test/support/redis/server.ts';
import { startLoad } from '../kill/load.ts';
import { planKills, showStrike, type Strike } from '../kill/plan.ts';
import { CHUNK_ROWS, sourceSql } from '../kill/tables.ts';

const WRITERS = 3;
const POLL_MS = 100;
const STRIKE_PATIENCE_MS = 45_000;
const FINISH_PATIENCE_MS = 180_000;
const FULL_IDENTITY = ['item', 'pair'].map((name) => `alter table ${name} replica identity full;`).join('\n');

function fileBody(copy: string): string {
  return `tables:
  - { from: public.acct, redis: { key: "acct:{id}" } }
  - { from: public.item, redis: { key: "item:{id}", form: json } }
  - { from: public.pair, redis: { key: "pair:{a}:{b}", sets: ["pairs_of:{a}"] } }
  - from: public.journal
copy: { parallel: 2, chunkRows: ${CHUNK_ROWS}${copy} }
heartbeatSeconds: 1
`;
}

const SLOW_COPY = ', chunkTargetMs: 10, maxRowsPerSecond: 2000';

interface Stage {
  readonly sourceUrl: string;
  readonly redis: RedisServer;
  readonly pipeline: PipelineOptions;
}

export interface RedisKillOptions {
  readonly kills: number;
  readonly rows: number;
  readonly seed: number;
  readonly say: (text: string) => void;
}

export async function runRedisKills({ kills, rows, seed, say }: RedisKillOptions): Promise<{ readonly keysCompared: number }> {
  const random = seeded(seed);
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(makeScratch('crossfade-prove-redis-'));
  const source = stack.use(await startPostgres({ version: 18 }));
  const redis = stack.use(await startRedis());
  const sourceUrl = await source.createDatabase('origin');
  await execute(sourceUrl, sourceSql(rows), FULL_IDENTITY);
  const file = join(directory, 'migration.yaml');
  const head = `crossfade: 1\nname: killed\nsource: { postgres: "${sourceUrl}" }\ntarget: { redis: "${redis.url}" }\n`;
  const stage: Stage = {
    sourceUrl,
    redis,
    pipeline: { file, dataDir: join(directory, 'data'), logFile: join(directory, 'crossfade.log') },
  };
  const load = stack.use(await startLoad(stage, WRITERS, () => random.next() * 2 - 1));
  const plan = planKills(kills, 0.5, random);
  writeFileSync(file, head + fileBody(SLOW_COPY));
  for (const strike of plan.copying) await killOnce(stage, strike, say);
  writeFileSync(file, head + fileBody(''));
  for (const strike of plan.following) await killOnce(stage, strike, say);
  await load.stop();
  await untilCaughtUp(stage);
  return { keysCompared: await compareRedis(stage) };
}

export async function killOnce(stage: Pick<Stage, 'pipeline'>, strike: Strike, say: (text: string) => void): Promise<void> {
  const env: Record<string, string> = strike.kind === 'failpoint' ? { CROSSFADE_TEST_FAILPOINT: `${strike.point}:${strike.count}` } : {};
  await using pipeline = Pipeline.start({ ...stage.pipeline, env });
  const limitMs = strike.kind === 'failpoint' ? STRIKE_PATIENCE_MS : strike.afterMs;
  const deadline = Date.now() + limitMs;
  while (pipeline.result === undefined && Date.now() < deadline) await Promise.race([pipeline.ended(), delay(POLL_MS)]);
  if (pipeline.result === undefined) await pipeline.kill();
  const end = pipeline.result;
  if (end?.signal !== 'SIGKILL')
    throw new Error(`crossfade up ended by itself, exit code ${end?.code}, at ${showStrike(strike)}\n${pipeline.logTail()}`);
  say(`${showStrike(strike)}, after ${Date.now() - pipeline.startedAt} ms`);
}

export async function untilCaughtUp(stage: Pick<Stage, 'pipeline'>): Promise<void> {
  await using pipeline = Pipeline.start({ ...stage.pipeline, args: ['--until', 'caught-up'] });
  const timer = setTimeout(() => void pipeline.kill(), FINISH_PATIENCE_MS);
  const end = await pipeline.ended();
  clearTimeout(timer);
  if (end.code !== 0) throw new Error(`crossfade up --until caught-up: ${end.signal ?? `exit code ${end.code}`}\n${pipeline.logTail()}`);
}

/** @returns keys compared. @throws Error with the differences */
export async function compareRedis({ sourceUrl, redis }: Pick<Stage, 'sourceUrl' | 'redis'>): Promise<number> {
  const differences: string[] = [];
  let keys = 0;
  const same = (table: string, source: Readonly<Record<string, unknown>>, found: Readonly<Record<string, unknown>>): void => {
    keys += Object.keys(source).length;
    for (const key of new Set([...Object.keys(source), ...Object.keys(found)])) {
      if (!isDeepStrictEqual(source[key], found[key]))
        differences.push(`${table} ${key}: ${JSON.stringify(found[key])} instead of ${JSON.stringify(source[key])}`);
    }
  };
  const pairKey = (row: Readonly<Record<string, string | null>>): string => `pair:${row['a']}:${encodeURIComponent(row['b'] ?? '')}`;
  const { client } = redis;
  same('acct', await sourceRows(sourceUrl, 'acct', (row) => `acct:${row['id']}`), await redisHashes(client, 'acct:'));
  same(
    'journal',
    await sourceRows(sourceUrl, 'journal', (row) => `public.journal:${row['op']}`),
    await redisHashes(client, 'public.journal:'),
  );
  const pairs = await sourceRows(sourceUrl, 'pair', pairKey);
  same('pair', pairs, await redisHashes(client, 'pair:'));
  const items = await sourceRows(sourceUrl, 'item', (row) => `item:${row['id']}`);
  const objects = Object.entries(items).map(([key, row]) => [key, { ...row, id: Number(row['id']), op: Number(row['op']) }]);
  same('item', Object.fromEntries(objects) as Record<string, unknown>, await redisObjects(client, 'item:'));
  const sets: Record<string, string[]> = {};
  for (const [key, row] of Object.entries(pairs)) (sets[`pairs_of:${row['a']}`] ??= []).push(key);
  const found: Record<string, string[]> = {};
  for (const name of await keysOf(client, 'pairs_of:')) found[name] = (await client.smembers(name)).toSorted();
  same('sets', Object.fromEntries(Object.entries(sets).map(([name, members]) => [name, members.toSorted()])), found);
  if (differences.length > 0) throw new Error(`${differences.length} keys differ:\n${differences.slice(0, 20).join('\n')}`);
  return keys;
}
