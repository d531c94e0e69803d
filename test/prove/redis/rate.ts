/** How fast the sink applies a log to Redis: decoding, folding and writing in this process, Redis beside it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { redisStore } from '#connectors/target/redis/store.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { createSink } from '#services/sink/sink.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { LogWriter, messageFrame, relationFrame } from '#test/support/sink-frames.ts';

const TRANSACTIONS_PER_APPEND = 2_000;
const PATIENCE_MS = 600_000;

export interface RateInput {
  readonly url: string;
  readonly mapping: CompiledMapping;
  readonly table: CatalogTable;
  /** Row messages, transaction by transaction. */
  readonly transactions: Iterable<readonly Buffer[]>;
}

/** @returns seconds, and those that this process computed. */
export async function measureSink({ url, mapping, table, transactions }: RateInput): Promise<{ seconds: number; cpuSeconds: number }> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'cf-redis-rate-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const log = await openEmbeddedLog({ directory });
  stack.defer(() => log.close());
  const raw = await log.topic('raw', { partitions: 1 });
  const progress = await log.topic('progress', { partitions: 1 });
  const writer = new LogWriter(raw, progress);
  await writer.state(table, 'following');
  await writer.copyComplete();
  await writer.transaction(relationFrame(table));
  let batch: (readonly Buffer[])[] = [];
  for (const frames of transactions) {
    if (batch.push(frames) < TRANSACTIONS_PER_APPEND) continue;
    await writer.transactions(batch);
    batch = [];
  }
  if (batch.length > 0) await writer.transactions(batch);
  await writer.transaction(messageFrame({ kind: 'marker', name: mapping.name, id: 'end' }));
  const sink = createSink({
    store: redisStore({ address: { url, cluster: false }, mapping, instance: 'rate' }),
    mapping,
    source: [table],
    targetTables: [],
    raw,
    progress,
    settings: { sink: { parallel: 1, synchronousCommit: false, batchRows: 20_000 } },
    logger: silentLogger,
    onMissingRows: async () => Promise.reject(new Error('a row was missing')),
  });
  const stop = new AbortController();
  const arrived = sink.waitMarker('end', AbortSignal.timeout(PATIENCE_MS));
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const ran = sink.run(stop.signal);
  await Promise.race([arrived, ran.then(async () => arrived)]);
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  stop.abort();
  await ran;
  return { seconds, cpuSeconds: (user + system) / 1e6 };
}
