/**
 * Waiting for rows that others have passed. Guarantee: what does not come is given up after so long in which nothing brought it nearer, and
 * never while something does, however slowly.
 */
import type { PipelineError } from '#schemas/errors.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { RawKey } from './bookmark.ts';

/** A raw partition that is claimed elsewhere and not here: how much was claimed on the way there, and what it is when that is all. */
export interface Missed {
  readonly raw: RawKey;
  readonly covered: Offset;
  readonly error: PipelineError;
}

export class VainWait {
  readonly #patienceMs: number;
  #waiting: { readonly raw: RawKey; readonly covered: Offset; readonly since: number } | undefined;

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** So long it may be waited on; undefined: nothing is missed. @throws what is missed, for too long */
  leftMs(missed: Missed | undefined): number | undefined {
    if (missed === undefined) {
      this.#waiting = undefined;
      return undefined;
    }
    const { raw, covered, error } = missed;
    if (this.#waiting?.raw !== raw || this.#waiting.covered < covered) this.#waiting = { raw, covered, since: performance.now() };
    const leftMs = this.#waiting.since + this.#patienceMs - performance.now();
    if (leftMs <= 0) throw error;
    return Math.ceil(leftMs);
  }
}
