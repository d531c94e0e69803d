/**
 * A write to the store that serves. Guarantee: it runs where the flags say; when that store's fence refuses it (which rolled it back), it is run in the
 * other store, which refuses it by a fence of its own if it does not serve. So a flip costs a write one more try, and a stale or cut-off client
 * never writes to the wrong store. The time for that is bounded.
 *
 * Any other error is the application's: also a lost connection, of which nobody knows what became of the transaction.
 */
import type { Side } from '#schemas/flags/read-rules.ts';
import { fenceState } from './fenced.ts';
import { after } from './shadow-read.ts';

export interface WritePair<T> {
  source(): Promise<T> | T;
  target(): Promise<T> | T;
}

export interface WriteWhereOptions {
  readonly serves: () => Side;
  readonly refresh: () => Promise<void>;
  readonly waitMs: number;
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
      const state = fenceState(error);
      if (state === undefined || performance.now() > untilMs) {
        options.observed(side, performance.now() - beganMs, error);
        throw error;
      }
      if (tries > 0) await after(Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** tries));
      side = await elsewhere(side, state, options);
    }
  }
}

async function elsewhere(refused: Side, state: string, { refresh, serves }: WriteWhereOptions): Promise<Side> {
  const looked = refresh().catch(() => undefined);
  // The fence has said it: nobody waits for the flags, which may not be reached from here.
  if (state === '25006') return refused === 'source' ? 'target' : 'source';
  // A tenant moved while the transaction ran: the flags know where, and else a new snapshot does.
  await Promise.race([looked, after(LOOK_MS)]);
  return serves();
}
