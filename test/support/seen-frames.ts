/** What a sink sees of a raw log, against what the log holds. Guarantee: each frame once and in order, and numbered so that positions taken from it are true. */
import type { ReadBatch } from '#connectors/change-log/change-log.ts';
import { FRAME } from '#schemas/frame/frame.ts';
import { TAG } from '#schemas/pgoutput/message.ts';
import type { LoggedFrame } from '#test/support/gather-world.ts';
import { recordsOf } from '#test/support/log-records.ts';

export class SeenFrames {
  readonly #log: readonly LoggedFrame[];
  readonly #from: number;
  #at: number | undefined;
  /** First number that the next batch may have. */
  #numbered = 0;
  count = 0;

  constructor(log: readonly LoggedFrame[], from: number) {
    this.#log = log;
    this.#from = from;
  }

  /** Everything that the log holds now was seen. */
  get isAtEnd(): boolean {
    let at = this.next;
    while (at < this.#log.length && this.#log[at]!.seen === undefined) at++;
    return at >= this.#log.length;
  }

  /** First record that was not seen. */
  get next(): number {
    return this.#at ?? this.#from;
  }

  tell(): string {
    return `${this.count} frames seen, record ${this.#at ?? 'none'} of ${this.#log.length} is next`;
  }

  take(batch: ReadBatch): string | undefined {
    const frames = recordsOf(batch);
    if (frames.length !== batch.count) return `a batch of ${batch.count} holds ${frames.length}`;
    if (batch.baseOffset < this.#numbered) return `batch ${batch.baseOffset} reaches back below ${this.#numbered}`;
    this.#numbered = batch.baseOffset + batch.count;
    // A batch may begin below what was asked for: where, the last record's number says.
    this.#at ??= this.#startOf(batch);
    for (const [i, frame] of frames.entries()) {
      while (this.#at < this.#log.length && this.#log[this.#at]!.seen === undefined) this.#at++;
      const wanted = this.#log[this.#at++];
      if (wanted?.seen === undefined || !wanted.seen.equals(frame))
        return `record ${wanted?.v}: wanted ${wanted?.seen?.toString('latin1')}, got ${frame.toString('latin1')}`;
      const number = batch.baseOffset + i;
      const isFixed =
        i === frames.length - 1 || [TAG.commit, FRAME.epoch, FRAME.tableState, FRAME.copyComplete].some((tag) => tag === frame[0]);
      if (number < wanted.v || (isFixed && number !== wanted.v)) return `record ${wanted.v} is numbered ${number}`;
      this.count++;
    }
    return undefined;
  }

  #startOf({ baseOffset, count }: ReadBatch): number {
    let at = baseOffset + count;
    for (let left = count; left > 0 && at > 0;) if (this.#log[--at]!.seen !== undefined) left--;
    return at;
  }
}
