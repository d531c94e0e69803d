/**
 * `up`'s own services in this process, with a mirror of the log beside them. Guarantee: reader, copier and sink are put together as `up` does;
 * `caughtUp` resolves when everything written before it is applied.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { summedColumns } from '#schemas/reconcile/checks/summed-columns.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { MirrorLimits } from '#services/reconciler/stream/mirror-limits.ts';
import type { MirrorVerdict } from '#services/reconciler/stream/mirror-verdict.ts';
import { StreamMirror } from '#services/reconciler/stream/stream-mirror.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { assemble, type Running } from '#services/up/assemble.ts';
import { ServingSide, sidesOf } from '#services/up/reverse/serving-side.ts';
import { openTargets } from '#services/up/open-targets.ts';
import { ServiceGroup } from '#services/up/service-group.ts';
import { openSession } from './application.ts';
import { type Alter, alteredTopic } from './altered-topic.ts';

export interface MirroredOptions {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  /** YAML below `tables:`; all of public when absent. */
  readonly tables?: string;
  /** YAML below `checks:`; none when absent. */
  readonly checks?: string;
  readonly limits?: Partial<MirrorLimits>;
  /** What the sink and the mirror read in place of what the reader wrote. */
  readonly alter?: Alter;
}

export interface MirroredPipeline extends AsyncDisposable {
  readonly mirror: StreamMirror;
  readonly raw: Topic;
  caughtUp(): Promise<void>;
  /** The sink can commit nothing until the returned function is called. */
  pauseSink(): Promise<() => Promise<void>>;
  /** By source table, of both comparisons; waits until no table is inconclusive but those named. */
  settled(inconclusive?: readonly string[]): Promise<void>;
}

const WAIT = { timeout: 60_000, interval: 50 };

function fileOf({ sourceUrl, targetUrl, tables, checks }: MirroredOptions): MigrationFile {
  const head = `crossfade: 1\nname: mirrored\nsource: { postgres: "${sourceUrl}" }\ntarget: { postgres: "${targetUrl}" }\nheartbeatSeconds: 1\n`;
  const text = `${head}tables:\n${tables ?? '  - from: public.*\n'}${checks === undefined ? '' : `checks:\n${checks}`}`;
  const { file, findings } = readMigrationFile({ path: 'test.yaml', text, env: {} });
  if (file === undefined) throw new Error(findings.map(({ message }) => message).join('; '));
  return file;
}

export async function mirroredPipeline(options: MirroredOptions): Promise<MirroredPipeline> {
  await using stack = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'crossfade-mirror-'));
  stack.defer(async () => rm(dataDir, { recursive: true, force: true }));
  const log = await openEmbeddedLog({ directory: join(dataDir, 'log') });
  stack.defer(() => log.close());
  const written = await log.topic('raw', { partitions: 1 });
  const raw = options.alter === undefined ? written : alteredTopic(written, options.alter);
  const topics = {
    raw,
    progress: await log.topic('progress', { partitions: 1 }),
    deadLetters: await log.topic('dlq', { partitions: 1 }),
  };
  const stop = new AbortController();
  const group = stack.use(new ServiceGroup(stop.signal));
  const up = {
    file: fileOf(options),
    dataDir,
    host: '127.0.0.1',
    port: 0,
    signal: stop.signal,
    logger: silentLogger,
    environment: {},
    onProgress: () => undefined,
  };
  const targets = await openTargets(up, topics);
  for (const target of targets.all) group.start((signal) => target.run(signal));
  const taken = await group.orFailure(Promise.all(targets.all.map(({ ready }) => ready)));
  await targets.recorded(group.signal);
  const running = await assemble(up, {
    ...topics,
    targets,
    serving: stack.use(new ServingSide(sidesOf(up.file))),
    ordered: taken.map(({ ordered }) => ordered),
    stack,
  });
  group.start((signal) => running.reader.run(signal));
  await group.orFailure(running.streaming);
  group.start((signal) => running.copier.run(signal));
  const [{ migration, declared }] = targets.all as [(typeof targets.all)[number]];
  const mirror = await StreamMirror.open({
    ...options,
    ...topics,
    name: up.file.name,
    mapping: migration.mapping,
    types: migration.types,
    logger: silentLogger,
    summed: (table) => summedColumns(declared.planned, table),
    limits: { tendMs: 100, refillMs: 500, waitMs: 20_000, ...options.limits },
  });
  group.start((signal) => mirror.run(signal));
  const kept = stack.move();
  return {
    mirror,
    raw,
    caughtUp: async () => caughtUp(running, group.signal),
    pauseSink: async () => pauseSink(options.targetUrl),
    settled: async (inconclusive = []) => settled(mirror, inconclusive),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await kept.disposeAsync();
    },
  };
}

async function caughtUp({ copier, targets, reader }: Running, signal: AbortSignal): Promise<void> {
  await vi.waitFor(() => {
    if (!copier.idle || targets.appliedLsn() === undefined) throw new Error('the copy is not complete');
  }, WAIT);
  await targets.waitMarker(await reader.writeMarker(), signal);
}

/** Every transaction of the sink locks its progress row first. */
async function pauseSink(url: string): Promise<() => Promise<void>> {
  const session = await openSession(url);
  await session.query('BEGIN');
  await session.query('SELECT name FROM crossfade.progress FOR UPDATE');
  return async () => session[Symbol.asyncDispose]();
}

async function settled(mirror: StreamMirror, inconclusive: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    const verdicts = [...(await mirror.compareTarget()), ...(await mirror.compareSource())];
    const open = verdicts.filter((one) => one.outcome === 'inconclusive' && !inconclusive.includes(one.from));
    if (open.length > 0) throw new Error(open.map(told).join('; '));
  }, WAIT);
}

function told({ from, equality, inconclusive }: MirrorVerdict): string {
  return `${from} (${equality}): ${inconclusive?.message}`;
}
