/** Waiting between tries. Guarantee: delays grow from `firstMs` to `lastMs`, with jitter from the random source given. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Backoff {
  readonly firstMs: number;
  readonly lastMs: number;
}

export const RECONNECT: Backoff = { firstMs: 100, lastMs: 5_000 };

/** Milliseconds to wait before try number `attempt` (0 = first repeat): exponential, with up to a quarter taken off at random. */
export function backoffMs(backoff: Backoff, attempt: number, random: () => number = Math.random): number {
  const full = Math.min(backoff.lastMs, backoff.firstMs * 2 ** Math.min(attempt, 20));
  return Math.round(full * (1 - random() / 4));
}

/** Resolves after the back-off, or rejects with the signal's reason. */
export async function waitBackoff(backoff: Backoff, attempt: number, signal: AbortSignal): Promise<void> {
  await delay(backoffMs(backoff, attempt), undefined, { signal });
}
