/**
 * When `up --until caught-up` may end. Guarantee: everything that was committed on the side that serves before the last marker is on the other one, or (where nothing
 * leads back) will never come there; nothing that has to be copied on that way is left.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Side } from '#schemas/migration/transitions.ts';
import { canFlip, type Running } from './assemble.ts';
import type { ReverseService } from './reverse/reverse-service.ts';
import type { ServingSide } from './reverse/serving-side.ts';
import type { TargetSides } from './target-sides.ts';

const POLL_MS = 100;
/** A way that stands still may have ended, or its side may have ceased to serve: then it is looked at anew. */
const MARKER_WAIT_MS = 5_000;

export interface CaughtUp {
  readonly file: MigrationFile;
  readonly running: Running;
  readonly serving: ServingSide;
  /** Undefined: the file has no way back. */
  readonly reverse: ReverseService | undefined;
}

export async function caughtUp(parts: CaughtUp, signal: AbortSignal): Promise<'caught-up'> {
  for (;;) {
    const side = await servingSide(parts, signal);
    const isDone = side === 'source' ? await forward(parts, signal) : await back(parts, signal);
    // Where it was flipped meanwhile the other direction counts.
    if (isDone && (await servingSide(parts, signal)) === side) return 'caught-up';
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Asked until somebody answers. */
async function servingSide({ file, running, serving }: CaughtUp, signal: AbortSignal): Promise<Side> {
  if (!canFlip(file)) return 'source';
  for (;;) {
    const side = await serving.ask().catch(() => undefined);
    if (side !== undefined) return side;
    running.targets.throwFailure();
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Nothing is left to copy, and a marker written after that is applied. @returns false when the target has begun to serve */
async function forward({ file, running: { copier, targets, reader }, serving }: CaughtUp, signal: AbortSignal): Promise<boolean> {
  const over = new AbortController();
  const still = AbortSignal.any([over.signal, canFlip(file) ? serving.forwardOnly(AbortSignal.any([signal, over.signal])) : signal]);
  try {
    while (!copier.idle || targets.appliedLsn() === undefined) {
      targets.throwFailure();
      await delay(POLL_MS, undefined, { signal: still });
    }
    const id = await reader.writeMarker();
    await Promise.race([targets.waitMarker(id, still), failureOf(targets, still)]);
    return !still.aborted;
  } catch (error) {
    if (signal.aborted || !still.aborted) throw error;
    return false;
  } finally {
    over.abort();
  }
}

/** What was still to be copied from the source has to wait until it serves again: it keeps nobody. @returns false when it has to be asked again */
async function back({ file, reverse }: CaughtUp, signal: AbortSignal): Promise<boolean> {
  if (reverse === undefined) return true;
  try {
    if ((await readState(file.target.postgres!, file.name))?.reverseWanted !== true) return true;
    return (await reverse.actions(signal).marker({ waitMs: MARKER_WAIT_MS, afterCopy: true })).applied;
  } catch (error) {
    if (signal.aborted) throw error;
    return false; // it is being started, or has ended and will be; the log of the instance says why
  }
}

/** Resolves with the signal. @throws what one of the targets was given up for */
async function failureOf(targets: TargetSides, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    targets.throwFailure();
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}
