/**
 * Which records of a connector are repeats. Guarantee: a record is taken for a repeat only when the connector has written it before, in the
 * same partition; so no change is lost by it, and a connector that begins again at an older place brings no old value back.
 *
 * The connector says with each row the LSN of the last commit before its transaction, and the row's own: in the order of its stream both
 * rise (a row's LSN alone does not: transactions overlap). What a partition holds is a prefix of what was sent to it, so whatever lies
 * below the highest place seen there was there before. At the very place it may be another row of the same WAL record: that counts, and
 * repeats nothing but the last value. Where the place goes back and the commit is later than all seen, the source is another one.
 */
import type { SeenOrderRecord, SeenPlace } from '#schemas/order/order-record.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { DecodedEvent } from '#schemas/wire/wire.ts';
import { rawKey, type RawKey } from './bookmark.ts';

const TRUNCATES_MAX = 64;

/** A row's place in the connector's stream. */
interface SourcePlace {
  readonly commit: bigint;
  readonly lsn: bigint;
  /** When its transaction was committed. */
  readonly micros: bigint;
}

interface Seen extends SourcePlace {
  readonly topic: number;
  readonly partition: number;
}

/** As the formats decode it. */
export interface EventOfOthers extends Pick<DecodedEvent, 'op'> {
  readonly source?: { readonly sequence?: string; readonly commitLsn: bigint; readonly commitTimeMicros: bigint };
}

export class Repeats {
  readonly #seen = new Map<RawKey, Seen>();
  readonly #truncates = new Map<number, readonly string[]>();
  /** Not yet in the order. */
  readonly #changed = new Set<RawKey>();
  readonly #changedTopics = new Set<number>();

  /** What an earlier reader saw. */
  restore({ places, truncates }: Pick<SeenOrderRecord, 'places' | 'truncates'>): void {
    for (const { topic, partition, commit, lsn, micros } of places) {
      const seen = { topic, partition, commit: BigInt(commit), lsn: BigInt(lsn), micros: BigInt(micros) };
      this.#seen.set(rawKey(topic, partition), seen);
    }
    for (const [topic, positions] of truncates) this.#truncates.set(topic, positions);
  }

  /** Snapshots are read anew, so their rows (op r) are never repeats. */
  isRepeat(event: EventOfOthers, topic: number, partition: number): boolean {
    if (event.op === 'r' || event.op === 'm') return false;
    const place = placeOf(event);
    if (place === undefined) return false;
    if (event.op === 't') return this.#isRepeatedTruncate(place, topic);
    const key = rawKey(topic, partition);
    const seen = this.#seen.get(key);
    if (seen !== undefined && isBefore(place, seen)) {
      if (place.micros <= seen.micros && guarded('foreign-repeats')) return true;
    } else if (seen?.commit === place.commit && seen.lsn === place.lsn) return false;
    const micros = seen !== undefined && seen.micros > place.micros ? seen.micros : place.micros;
    this.#seen.set(key, { ...place, micros, topic, partition });
    this.#changed.add(key);
    return false;
  }

  #isRepeatedTruncate({ commit, lsn, micros }: SourcePlace, topic: number): boolean {
    const known = this.#truncates.get(topic) ?? [];
    const position = `${commit} ${lsn} ${micros}`;
    if (known.includes(position)) return true;
    this.#truncates.set(topic, [...known, position].slice(-TRUNCATES_MAX));
    this.#changedTopics.add(topic);
    return false;
  }

  /** What has changed since the last call; undefined when nothing has. */
  take(epoch: number): SeenOrderRecord | undefined {
    if (this.#changed.size === 0 && this.#changedTopics.size === 0) return undefined;
    const places = Array.from(this.#changed, (key) => told(this.#seen.get(key)!));
    const truncates = [...this.#changedTopics].map((topic) => [topic, this.#truncates.get(topic) ?? []] as const);
    this.#changed.clear();
    this.#changedTopics.clear();
    return { t: 'seen', epoch, places, truncates };
  }

  /** All that was seen. */
  whole(): Pick<SeenOrderRecord, 'places' | 'truncates'> {
    return { places: Array.from(this.#seen.values(), told), truncates: [...this.#truncates] };
  }
}

function told({ topic, partition, commit, lsn, micros }: Seen): SeenPlace {
  return { topic, partition, commit: String(commit), lsn: String(lsn), micros: String(micros) };
}

function isBefore(a: SourcePlace, b: SourcePlace): boolean {
  return a.commit < b.commit || (a.commit === b.commit && a.lsn < b.lsn);
}

/** Undefined for a connector that does not say. */
function placeOf({ source }: EventOfOthers): SourcePlace | undefined {
  if (source?.sequence === undefined) return undefined;
  const [commit] = JSON.parse(source.sequence) as readonly (string | null)[];
  if (commit === undefined) return undefined;
  return { commit: BigInt(commit ?? 0), lsn: source.commitLsn, micros: source.commitTimeMicros };
}
