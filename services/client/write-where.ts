/**
 * A write to the store that serves. Guarantee: it runs where the flags say; when that store's fence refuses it (which rolled it back), it is run in the
 * other store, which refuses it by a fence of its own if it does not serve. So a flip costs a write one more try, and a stale or cut-off client
 * never writes to the wrong store. The time for that is bounded.
 *
 * In waves the other store has a fence only for units that have moved. So only the fence of the write's own wave sends it there: one that touches rows of another
 * wave (or truncates) is refused, and stays so, unless the flags say that its own has moved.
 *
 * Any other error is the application's: also a lost connection, of which nobody knows what became of the transaction.
 */
import type { Side } from '#schemas/flags/read-rules.ts';
import { type FenceRefusal, fenceRefusal } from './fenced.ts';
import { after } from './shadow-read.ts';

export interface WritePair<T> {
  source(): Promise<T> | T;
  target(): Promise<T> | T;
}

export interface WriteWhereOptions {
  readonly serves: () => Side;
  readonly refresh: () => Promise<void>;
  readonly waitMs: number;
  /** Whose fence sends it to the other store; absent: any. */
  readonly migration?: (() => string) | undefined;
  observed(side: Side, ms: number, error?: unknown): void;
}

/** While both refuse: the flip is between its commit and the lifting of the other fence. */
const PAUSE_MS = 20;
const PAUSE_MAX_MS = 200;
const LOOK_MS = 500;

/** @throws what the store said; of a fence, the last refusal once the time is over */
export async function writeWhere<T>(pair: WritePair<T>, options: WriteWhereOptions): Promise<T> {
  const untilMs = performance.now() + options.waitMs;
  let side = options.serves();
  for (let tries = 0; ; tries++) {
    const beganMs = performance.now();
    try {
      const result = await pair[side]();
      options.observed(side, performance.now() - beganMs);
      return result;
    } catch (error) {
      const tookMs = performance.now() - beganMs;
      const refusal = fenceRefusal(error);
      const isLate = performance.now() > untilMs;
      if (tries > 0 && refusal !== undefined && !isLate) await after(Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** tries));
      const next = refusal === undefined || isLate ? undefined : await elsewhere(side, refusal, options);
      if (next === undefined) {
        options.observed(side, tookMs, error);
        throw error;
      }
      side = next;
    }
  }
}

/** Undefined: nowhere. */
async function elsewhere(refused: Side, { state, migration: by }: FenceRefusal, options: WriteWhereOptions): Promise<Side | undefined> {
  const { refresh, serves, migration } = options;
  const looked = refresh().catch(() => undefined);
  const own = migration?.();
  const isMoved = state === '25006' && (by === undefined || own === undefined || by === own);
  // The fence has said it: nobody waits for the flags, which may not be reached from here.
  if (isMoved) return refused === 'source' ? 'target' : 'source';
  // A tenant moved while the transaction ran: the flags know where, and else a new snapshot does.
  await Promise.race([looked, after(LOOK_MS)]);
  return state === '25006' && serves() === refused ? undefined : serves();
}
