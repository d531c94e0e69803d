/**
 * The sink over frames of the log, into a target of its own. Guarantee: mapping, sink and store are the product's; only the frames, the
 * mapping that it runs by, or what the store is handed may be another's.
 */
import type { Cursor, Topic } from '#connectors/change-log/change-log.ts';
import type { TargetStore } from '#connectors/target/target.ts';
import { postgresStore } from '#connectors/target/postgres/store.ts';
import type { Lsn } from '#schemas/lsn.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { createSink } from '#services/sink/sink.ts';
import { readMigration } from '#services/up/read-migration.ts';
import { fileFor } from '#test/support/running-instance.ts';

export interface Replay {
  readonly source: string;
  readonly target: string;
  readonly frames: readonly Buffer[];
  readonly end: Lsn;
  /** The file's entries as this sink reads them. */
  readonly tables: string;
  readonly wrap?: ((store: TargetStore) => TargetStore) | undefined;
}

const PATIENCE_MS = 60_000;
/** Small, so that the load makes many rounds. */
const BATCH_ROWS = 25;

export async function replay({ source, target, frames, end, tables, wrap = (store) => store }: Replay): Promise<void> {
  const { mapping, sourceTables, targetTables } = await readMigration(fileFor({ source, target, rest: tables }));
  const settings = { sink: { parallel: 1, synchronousCommit: false, batchRows: BATCH_ROWS } };
  const stop = new AbortController();
  const failed = Promise.withResolvers<never>();
  const refuse = async (what: string): Promise<void> => failed.reject(new Error(what));
  const sink = createSink({
    store: wrap(postgresStore({ url: target, mapping, tables: targetTables, synchronousCommit: false, instance: 'faults' })),
    mapping,
    source: sourceTables,
    targetTables,
    raw: heldTopic('raw', frames),
    progress: heldTopic('progress', []),
    settings,
    logger: silentLogger,
    // What the copier would be asked for: a fault that the pipeline itself notices shows as what it is.
    onMissingRows: async () => undefined,
    onHeld: (table, message) => void refuse(`${table.to.name} is held: ${message}`),
  });
  const running = sink.run(stop.signal);
  running.catch(failed.reject);
  try {
    await Promise.race([sink.waitApplied(end, AbortSignal.timeout(PATIENCE_MS)), failed.promise]);
  } finally {
    stop.abort();
    await running.catch(() => undefined);
  }
}

/** A log that holds these records and gets no more. */
export function heldTopic(name: string, frames: readonly Buffer[]): Topic {
  const refuse = (): never => {
    throw new Error('nothing is written to a log that is read again');
  };
  return {
    name,
    partitions: 1,
    append: async () => refuse(),
    partitionFor: () => 0,
    start: () => 0,
    end: () => frames.length,
    read: (_partition, from) => cursorOver(frames, from),
    commit: async () => undefined,
    committed: () => undefined,
    trim: async () => undefined,
    size: () => 0,
  };
}

function cursorOver(frames: readonly Buffer[], from: number): Cursor {
  let at = from;
  const poll: Cursor['poll'] = async () => {
    if (at >= frames.length) return undefined;
    const [baseOffset, rest] = [at, frames.slice(at)];
    at = frames.length;
    return { baseOffset, count: rest.length, bytes: Buffer.concat(rest.flatMap((frame) => [lengthOf(frame), frame])) };
  };
  return {
    poll,
    next: async (signal) => (await poll()) ?? (await aborted(signal)),
    close: async () => undefined,
  };
}

function lengthOf(frame: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return length;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
