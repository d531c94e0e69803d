/**
 * Waiting for rows that others have passed. Guarantee: what does not come is given up after so long in which nothing brought it nearer, and
 * never while something does, however slowly.
 */
import type { PipelineError } from '#schemas/errors.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { TopicOrderRecord } from '#schemas/order/order-record.ts';
import { branchOf, partitionOf, rawKey, topicOf, type RawKey } from './bookmark.ts';
import type { ClaimBook } from './claims.ts';
import { notMapped, othersMap } from './lost-records.ts';

/** A raw partition that is claimed elsewhere and not here: how much was claimed on the way there, and what it is when that is all. */
export interface Missed {
  readonly raw: RawKey;
  readonly covered: Offset;
  readonly error: PipelineError;
}

/** What a segment wants of a raw partition, on its way to one target. */
export interface Wanted {
  readonly raw: RawKey;
  readonly to: Offset;
  readonly topic: TopicOrderRecord;
  readonly taken: Offset;
}

/** Undefined: it is claimed, or nobody else has it either. */
export function missedBy(claims: ClaimBook, { raw, to, topic, taken }: Wanted): Missed | undefined {
  const [index, partition] = [topicOf(raw), partitionOf(raw)];
  if (claims.reach(raw, to)) return undefined;
  if (claims.isApart(raw, to)) return { raw, covered: claims.covered(raw), error: notMapped({ topic: topic.topic, partition }, taken) };
  if (!claims.isOthers(rawKey(index, partition), to)) return undefined;
  // Of whichever partition: then somebody maps the table by this file, and comes to this one.
  let covered = 0;
  for (let each = 0; each < topic.partitions; each++) covered += claims.covered(rawKey(index, each, branchOf(raw)));
  return { raw, covered, error: othersMap() };
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
