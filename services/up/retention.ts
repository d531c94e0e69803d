/**
 * How much of the raw log is kept behind the target's progress. Guarantee: nothing above the progress given is ever named, and at
 * least `retainBytes` behind it stay, for a target that is restored to an older state.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';

/** One sample per this many bytes: trimming works by whole segments anyway. */
const SAMPLE_BYTES = 8 << 20;

interface Sample {
  readonly offset: Offset;
  readonly bytes: number;
}

export class Retention {
  readonly #retainBytes: number;
  #samples: Sample[] = [];

  constructor(retainBytes: number) {
    this.#retainBytes = retainBytes;
  }

  /** The log ends at `offset` and has taken `bytes` in all since this process started. */
  note(offset: Offset, bytes: number): void {
    const last = this.#samples.at(-1);
    if (!last || bytes - last.bytes >= SAMPLE_BYTES) this.#samples.push({ offset, bytes });
  }

  /** Offset below which records may go, when consumers need everything from `needed` on; undefined: nothing yet. */
  before(needed: Offset): Offset | undefined {
    const reached = this.#samples.findLast((sample) => sample.offset <= needed);
    if (!reached) return undefined;
    const keep = this.#samples.findLastIndex((sample) => sample.bytes <= reached.bytes - this.#retainBytes);
    if (keep < 0) return undefined;
    const { offset } = this.#samples[keep]!;
    this.#samples = this.#samples.slice(keep);
    return offset;
  }
}
