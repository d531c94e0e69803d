/**
 * When the next round may begin. Guarantee: over any time, comparing takes no more of it than the budget and ten minutes' worth of the budget
 * besides; that much is lent to what was changed or found, so that a round that took long does not keep the next one waiting beyond ten seconds.
 *
 * A token bucket that may be in debt: a round's work is owed, and time pays it back at the budget's rate. Nothing is saved up while nothing is done. A
 * round so long that ten minutes do not pay for it is rested for ten minutes all the same, and its rest is not owed. If the process dies, what was owed is forgotten:
 * no verdict rests on it, and a new process begins with a pause and one whole proof.
 */

export interface RoundTime {
  readonly elapsedMs: number;
  /** Of it, how long nothing was done but waiting for the target, or for transactions of the source. */
  readonly waitedMs: number;
}

/** Between two rounds, however short they are. */
const REST_MS_MIN = 1_000;
/** However long the round was: what changes meanwhile should not wait for hours. */
const REST_MS_MAX = 600_000;
/** How much of the time to come may be used up in advance. */
const LENT_MS = 600_000;
/** From the start of one round to the end of the next, if that takes as long: what is spoilt behind the first one's snapshot is found by the second, which may take two seconds more. */
const FOUND_MS = 8_000;

/** How long a round is rested for, so that comparing takes its share of the time: while a paused sink was waited for, the servers rested already. */
export function restMs({ elapsedMs, waitedMs }: RoundTime, budget: number): number {
  return Math.min(REST_MS_MAX, Math.max(REST_MS_MIN, (elapsedMs - waitedMs) / budget - elapsedMs));
}

export class Allowance {
  readonly #budget: number;
  #owedMs = 0;
  #atMs = 0;
  #pressingFromMs = 0;
  #anyFromMs = 0;

  /** @param budget Share of the time: 0 to 1. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** A round has ended. @param nowMs By a clock that is never set. */
  spent(time: RoundTime, nowMs: number): void {
    const workedMs = time.elapsedMs - time.waitedMs;
    const restedMs = nowMs - this.#atMs - time.elapsedMs;
    this.#owedMs = Math.max(0, this.#owedMs - restedMs * this.#budget);
    this.#owedMs = Math.max(0, this.#owedMs + workedMs - time.elapsedMs * this.#budget);
    // What no rest could pay back is not owed.
    this.#owedMs = Math.min(this.#owedMs, (LENT_MS + REST_MS_MAX) * this.#budget);
    this.#atMs = nowMs;
    const untilPaidMs = this.#owedMs / this.#budget;
    // Never more than half of the time, but behind such a long round: a server on which a round takes long has other work.
    const soonMs = Math.min(untilPaidMs, REST_MS_MAX, Math.max(workedMs, FOUND_MS - time.elapsedMs - workedMs));
    const pressingMs = Math.ceil(Math.max(REST_MS_MIN, soonMs, untilPaidMs - LENT_MS));
    this.#pressingFromMs = nowMs + pressingMs;
    this.#anyFromMs = nowMs + Math.max(pressingMs, Math.floor(restMs(time, this.#budget)));
  }

  /** How long nothing at all may be compared, in milliseconds. */
  closedMs(nowMs: number): number {
    return Math.max(0, this.#pressingFromMs - nowMs);
  }

  /** Only what was changed or found may be compared: what rests, rests on. */
  isLent(nowMs: number): boolean {
    return nowMs < this.#anyFromMs;
  }
}
