/**
 * The pipeline run once as `crossfade up` runs it, and what it put into its log. Guarantee: the frames are all that the log holds, in order,
 * and what is there ends with everything that was written to the source.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { readAll } from '#services/runtime/records.ts';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import { execute } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';
import { newDataDir, type RunningInstance, startInstance } from '#test/support/running-instance.ts';
import { FILL, ROUNDS, roundOf, TABLES } from './tables.ts';

export interface Recording {
  readonly frames: readonly Buffer[];
  /** The sink has applied everything once it stands here. */
  readonly end: Lsn;
}

const PATIENCE_MS = 60_000;
const POLL_MS = 20;

export async function record(source: string, target: string, random: Random): Promise<Recording> {
  const directory = await newDataDir();
  try {
    await execute(source, ...FILL);
    const instance = await startInstance({ source, target, rest: TABLES }, directory);
    try {
      await until('following', () => instance.status()?.phase === 'following');
      for (let n = 0; n < ROUNDS; n++) await execute(source, ...roundOf(n, random));
      const end = await emptied(source, instance);
      await instance.stop();
      return { frames: await framesIn(directory), end };
    } finally {
      await instance[Symbol.asyncDispose]();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** @returns the end of the last commit, once it is applied. */
async function emptied(source: string, instance: RunningInstance): Promise<Lsn> {
  const [row] = await execute(source, `SELECT pg_current_wal_insert_lsn()::text AS lsn`);
  const written = parseLsn(row!['lsn']!);
  const applied = (): Lsn => parseLsn(instance.status()?.applied.lsn ?? '0/0');
  // A heartbeat follows within a second.
  await until('all applied', () => applied() >= written);
  return written;
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`the pipeline is not ${what} after ${PATIENCE_MS} ms`);
    await delay(POLL_MS);
  }
}

async function framesIn(directory: string): Promise<Buffer[]> {
  const log = await openEmbeddedLog({ directory: join(directory, 'log') });
  try {
    const frames: Buffer[] = [];
    await readAll(await log.topic('raw', { partitions: 1 }), 0, (frame) => void frames.push(Buffer.from(frame)));
    return frames;
  } finally {
    await log.close();
  }
}
