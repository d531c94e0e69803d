/**
 * An instance over fail-overs of its source. Guarantee: whatever ends it, the fences are looked at once more before that is told, so that a side which has lost its decision is fenced even where the
 * pipelines cannot go on; and where the target serves, a forward direction that the source has lost is begun anew within the same call, with everything else as it was.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunUpOptions, UpResult } from '#services/cli/up-port.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { canFlip } from './assemble.ts';
import { beginForwardAnew, isHalfBegun, wasBegun } from './begin-forward-anew.ts';
import { flipKeeper } from './flip-keeper.ts';
import { readMigration } from './read-migration.ts';
import { ServingSide, sidesOf } from './reverse/serving-side.ts';

/** The slot is gone or lost; a timeline that does not hold what was read. */
const LOST: ReadonlySet<string> = new Set(['CF-2004', 'CF-2005']);
/** Who loses it again so soon loses it to something else. */
const AGAIN_MS = 60_000;
/** Somebody's act, or a writer that the fence waits for, is waited for. */
const PATIENCE_MS = 60_000;
const PAUSE_MS = 2_000;

/** @throws PipelineError what ended an instance that cannot go on */
export async function runAcrossFailOvers(options: RunUpOptions, run: (options: RunUpOptions) => Promise<UpResult>): Promise<UpResult> {
  if (isHalfBegun(options.dataDir)) await goOn(options);
  for (let begunAt = -Infinity; ;) {
    try {
      return await run(options);
    } catch (error) {
      if (options.signal.aborted) throw error;
      await lookAtFences(options);
      const isLost = error instanceof PipelineError && LOST.has(error.code) && performance.now() - begunAt > AGAIN_MS;
      if (!isLost || !(await isBegunAnew(options, error))) throw error;
      begunAt = performance.now();
    }
  }
}

/** Never rejects: what ended the instance is what is told. */
async function lookAtFences(options: RunUpOptions): Promise<void> {
  const { file, logger, signal } = options;
  try {
    const { mapping } = await readMigration(file);
    await using serving = new ServingSide(sidesOf(file));
    await flipKeeper(options, mapping, serving)?.lookNow(signal);
  } catch (error) {
    logger.debug({ error: messageOf(error) }, 'The fences could not be looked at');
  }
}

async function beginAnew(options: RunUpOptions, { code, message }: PipelineError): Promise<boolean> {
  const { file, dataDir, logger, signal } = options;
  if (!canFlip(file)) return false;
  for (const deadline = performance.now() + PATIENCE_MS; ;) {
    const begun = await beginForwardAnew({ file, dataDir, logger, signal, migration: await readMigration(file) });
    if (typeof begun !== 'string') {
      logger.warn(
        { code, error: message, slot: file.name, lsn: formatLsn(begun) },
        'The way from the source lost its place while the target serves (a fail-over, most of the time): it begins anew. Rows that the source lost or took meanwhile are told by crossfade verify; crossfade repair brings them in line before a rollback',
      );
      return true;
    }
    if (begun === 'never' || performance.now() > deadline) return false;
    await delay(PAUSE_MS, undefined, { signal });
    await lookAtFences(options);
  }
}

/** Never rejects, but with the signal. */
async function isBegunAnew(options: RunUpOptions, lost: PipelineError): Promise<boolean> {
  try {
    return await beginAnew(options, lost);
  } catch (error) {
    options.signal.throwIfAborted();
    options.logger.error({ error: messageOf(error) }, 'The way from the source could not be begun anew');
    return false;
  }
}

/** @throws PipelineError CF-2004 where that is not possible any more */
async function goOn(options: RunUpOptions): Promise<void> {
  if (await wasBegun(options)) return;
  const error = new PipelineError('CF-2004', 'the way from the source was being begun anew when its process ended');
  await lookAtFences(options);
  if (!(await beginAnew(options, error))) throw error;
}
