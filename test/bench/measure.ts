/**
 * The three measurements. Guarantee: every figure belongs to a run whose rows were found equal on both sides afterwards; a run that
 * ends unequal throws.
 *
 * Clocks: source, target and bench share one machine, so one clock. A drain starts when the stopped side is told to go on (process
 * start-up is in it) and ends when the sentinel row, written last, is seen on the target by a probe every 5 ms: where commit order is
 * kept all is there by then. (Not pg_xact_commit_timestamp: native apply carries the source's commit time over.) Debezium's sink keeps
 * no order across tables: its end is the target's last commit before it was found equal, by pg_xact_commit_timestamp; so is the end of
 * a copy over Kafka.
 */
import { availableParallelism, loadavg } from 'node:os';
import { untilArrived, untilSeen } from './arrival.ts';
import type { Contender } from './contender.ts';
import { checksums, Database } from './database.ts';
import type { BenchOptions } from './options.ts';
import type { Stage } from './stage.ts';
import { type Usage, UsageMeter } from './usage.ts';
import { ALL_TABLES, type Backlog, COMMERCE, PGBENCH, tpcbSession, writeSentinel } from './workload.ts';

export interface Result {
  readonly part: 'copy' | 'drain' | 'latency';
  /** Set of tables, or kind of backlog. */
  readonly what: string;
  readonly contender: string;
  /** 0: warm-up, counts for nothing. */
  readonly round: number;
  readonly rows?: number;
  readonly seconds?: number;
  readonly rowsPerSecond?: number;
  /** Drain, from the walsender's start instead of from the word to go on. */
  readonly rowsPerSecondStreaming?: number;
  readonly latency?: LatencyFigures;
  readonly usage: readonly Usage[];
  /** One-minute load average over the cores: above 1, others were running. */
  readonly load: number;
}

export interface LatencyFigures {
  readonly beats: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly achievedTps: number;
}

export const SETS: Readonly<Record<string, readonly string[]>> = { commerce: COMMERCE, pgbench: PGBENCH };

export class UnequalError extends Error {
  override readonly name = 'UnequalError';
}

export async function measureCopy(
  stage: Stage,
  contender: Contender,
  run: { readonly set: string; readonly round: number },
): Promise<Result> {
  const tables = SETS[run.set] ?? [];
  const label = `copy_${run.set}_${contender.name}_${run.round}`;
  const targetUrl = await stage.freshTarget(label);
  await stage.checkpointTarget();
  try {
    const rows = await countRows(stage.source, tables);
    const options = { sourceUrl: stage.sourceUrl, targetUrl, tables, label };
    await contender.prepare?.(options);
    const meter = new UsageMeter([...stage.clusters, ...contender.processes(true)]);
    const began = Date.now();
    const seconds = ((await contender.copy(options)) - began) / 1000;
    const usage = meter.stop();
    await requireEqual(stage, targetUrl, tables);
    return {
      part: 'copy',
      what: run.set,
      contender: contender.name,
      round: run.round,
      rows,
      seconds,
      rowsPerSecond: rows / seconds,
      usage,
      load: load(),
    };
  } finally {
    await contender.remove();
    await stage.dropTarget(label);
  }
}

export async function measureDrain(
  stage: Stage,
  contender: Contender,
  run: { readonly backlog: Backlog; readonly round: number },
): Promise<Result> {
  const { backlog, round } = run;
  await using target = await Database.open(contender.targetUrl);
  const meter = new UsageMeter([...stage.clusters, ...contender.processes(true)]);
  const told = Date.now();
  await contender.resume();
  const ended = await untilThere(stage, contender, { target, sentinel: backlog.sentinel });
  const usage = meter.stop();
  const streaming = await contender.streamingSince();
  await requireEqual(stage, contender.targetUrl, ALL_TABLES);
  await contender.pause();
  const seconds = (ended - told) / 1000;
  return {
    part: 'drain',
    what: backlog.kind,
    contender: contender.name,
    round,
    rows: backlog.changes,
    seconds,
    rowsPerSecond: backlog.changes / seconds,
    ...(streaming !== undefined && { rowsPerSecondStreaming: (backlog.changes / (ended - streaming)) * 1000 }),
    usage,
    load: load(),
  };
}

/** Lets a contender that stood still take in what the other one's turn wrote, so that its own turn starts level. */
export async function catchUp(stage: Stage, contender: Contender): Promise<void> {
  await using target = await Database.open(contender.targetUrl);
  const sentinel = await writeSentinel(stage.source);
  await contender.resume();
  await untilThere(stage, contender, { target, sentinel });
}

const LATENCY_SESSIONS = 4;
const BEATS_PER_SECOND = 45;
const WARM_UP_MS = 2_000;

/** Needs the contender running and level; leaves it paused. */
export async function measureLatency(
  stage: Stage,
  contender: Contender,
  run: { readonly options: BenchOptions; readonly round: number },
): Promise<Result> {
  const { options, round } = run;
  const beats = options.latencySeconds * BEATS_PER_SECOND;
  const first = Date.now() * 1000;
  await using target = await Database.open(contender.targetUrl);
  await using beater = await stage.source.another();
  await using gauge = await stage.source.another();
  await stage.source.run('truncate beat_sent');
  await target.run('truncate beat_seen');
  const tps = options.rateTps / LATENCY_SESSIONS;
  const transactions = Math.ceil(tps * (options.latencySeconds + 4));
  const writing = Promise.all(
    Array.from({ length: LATENCY_SESSIONS }, () =>
      tpcbSession(stage.source, { transactions, scale: options.scale, tps, synchronous: true }),
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  const historyBefore = Number(await gauge.text('select count(*) from pgbench_history'));
  const began = Date.now();
  const meter = new UsageMeter([...stage.clusters, ...contender.processes(false)]);
  const watched = target.run(`call bench_watch(${first}, ${beats}, interval '${options.latencySeconds * 3} s')`);
  await beater.run(`call bench_beat(${first}, ${beats})`);
  const achievedTps = (Number(await gauge.text('select count(*) from pgbench_history')) - historyBefore) / ((Date.now() - began) / 1000);
  await watched;
  const usage = meter.stop();
  await writing;
  const sentinel = await writeSentinel(stage.source);
  await untilThere(stage, contender, { target, sentinel });
  const latency = { ...(await latencyFigures(stage.source, target)), achievedTps };
  await requireEqual(stage, contender.targetUrl, ALL_TABLES);
  await contender.pause();
  return { part: 'latency', what: `${options.rateTps} tps`, contender: contender.name, round, latency, usage, load: load() };
}

async function latencyFigures(source: Database, target: Database): Promise<Omit<LatencyFigures, 'achievedTps'>> {
  const times = async (database: Database, table: string): Promise<ReadonlyMap<string, number>> => {
    const rows = await database.rows(`select id, extract(epoch from at) * 1000 as ms from ${table}`);
    return new Map(rows.map((row) => [row['id'] ?? '', Number(row['ms'])]));
  };
  const [sent, seen] = [await times(source, 'beat_sent'), await times(target, 'beat_seen')];
  // A beat may be seen before its own session noted that the commit had returned: that is 0 ms, not a negative delay.
  const delays = [...sent].flatMap(([id, at]) => (seen.has(id) ? [Math.max(0, (seen.get(id) ?? 0) - at)] : [])).toSorted((a, b) => a - b);
  if (delays.length < sent.size)
    throw new UnequalError(`${sent.size - delays.length} beats of ${sent.size} were not seen on the target in time`);
  return { beats: delays.length, p50Ms: quantile(delays, 0.5), p99Ms: quantile(delays, 0.99), maxMs: quantile(delays, 1) };
}

/** Of sorted values; the nearest rank. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

/** @returns when all that was written up to the sentinel was on the target, epoch in milliseconds */
async function untilThere(
  stage: Stage,
  contender: Contender,
  { target, sentinel }: { readonly target: Database; readonly sentinel: string },
): Promise<number> {
  if (!contender.ordered) {
    const check = async (): Promise<void> => contender.check?.();
    return await untilArrived({ sourceUrl: stage.sourceUrl, targetUrl: contender.targetUrl, tables: ALL_TABLES, sentinel, check });
  }
  await untilSeen(target, sentinel, contender);
  return Date.now();
}

async function requireEqual(stage: Stage, targetUrl: string, tables: readonly string[]): Promise<void> {
  await using target = await Database.open(targetUrl);
  const [expected, found] = [await checksums(stage.source, tables), await checksums(target, tables)];
  if (expected !== found) throw new UnequalError(`source and target differ.\nsource:\n${expected}\ntarget:\n${found}`);
}

async function countRows(source: Database, tables: readonly string[]): Promise<number> {
  let rows = 0;
  for (const table of tables) rows += Number(await source.text(`select count(*) from ${table}`));
  return rows;
}

function load(): number {
  return (loadavg()[0] ?? 0) / availableParallelism();
}
