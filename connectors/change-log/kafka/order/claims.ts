/**
 * What the transformers have said. Guarantee: `reach` answers true only when a claim covers the raw offset asked for, and the ends it
 * leaves are then those of every claim of that raw partition up to and with it, so everything below that offset lies below them.
 *
 * Only claims of the mappings named count: what another file's transformer has mapped is not there for whoever reads by this one.
 *
 * Claims are taken one by one, not all at once: the ends of a claim far ahead would make the first segment wait for (and the memory
 * hold) all that lies before them.
 */
import type { Claim } from '#schemas/order/order-record.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import { rawKey, type RawKey, type RawPlaceMark } from './bookmark.ts';

/** Beyond so many, two neighbours become one: coarser, but as true. */
const WAITING_MAX = 1024;

interface Waiting {
  readonly offset: Offset;
  readonly ends: readonly (readonly [place: number, end: Offset])[];
  /** Where the claim stands in the claims topic. */
  readonly at: Offset;
}

interface Claimed {
  offset: Offset;
  /** Mapped partition (by number) → end. */
  readonly ends: Map<number, Offset>;
  waiting: Waiting[];
}

/** Number of a mapped partition; undefined for one that is not read. */
type PlaceOf = (topic: string, partition: number) => number | undefined;

const NONE: ReadonlyMap<number, Offset> = new Map();

export interface ClaimBookOptions {
  readonly placeOf: PlaceOf;
  /** Tags of the mappings that rows are read by. */
  readonly mappings: ReadonlySet<number>;
  readonly marks: readonly RawPlaceMark[];
}

export class ClaimBook {
  readonly #placeOf: PlaceOf;
  readonly #mappings: ReadonlySet<number>;
  readonly #raw = new Map<RawKey, Claimed>();
  /** What was claimed by other mappings: raw offset. */
  readonly #others = new Map<RawKey, Offset>();
  /** Claims read and not taken. */
  size = 0;

  constructor({ placeOf, mappings, marks }: ClaimBookOptions) {
    this.#placeOf = placeOf;
    this.#mappings = mappings;
    for (const { raw, claimed, ends } of marks) {
      this.#raw.set(raw, {
        offset: claimed,
        ends: new Map(numbered(ends, placeOf)),
        waiting: [],
      });
    }
  }

  add(claim: Claim, at: Offset): void {
    for (const entry of claim.entries) {
      const raw = rawKey(entry.topic, entry.partition);
      if (!this.#mappings.has(entry.mapping) && guarded('table-tag')) {
        this.#others.set(raw, Math.max(entry.offset, this.#others.get(raw) ?? 0));
        continue;
      }
      const claimed = this.#of(raw);
      // A replaced transformer's, or read again: what it covers is covered.
      if (entry.offset <= (claimed.waiting.at(-1)?.offset ?? claimed.offset)) continue;
      const named = Object.entries(entry.ends).flatMap(([topic, partitions]) =>
        partitions.map(([partition, end]) => [topic, partition, end] as const),
      );
      const ends = numbered(named, this.#placeOf);
      claimed.waiting.push({ offset: entry.offset, ends, at });
      this.size++;
      if (claimed.waiting.length > WAITING_MAX) this.#thin(claimed);
    }
  }

  #of(raw: RawKey): Claimed {
    let claimed = this.#raw.get(raw);
    if (claimed === undefined) this.#raw.set(raw, (claimed = { offset: 0, ends: new Map(), waiting: [] }));
    return claimed;
  }

  #thin(claimed: Claimed): void {
    const kept: Waiting[] = [];
    for (let i = 0; i < claimed.waiting.length; i += 2) {
      const [first, second] = [claimed.waiting[i]!, claimed.waiting[i + 1]];
      kept.push(second === undefined ? first : { offset: second.offset, ends: highest([...first.ends, ...second.ends]), at: first.at });
    }
    this.size -= claimed.waiting.length - kept.length;
    claimed.waiting = kept;
  }

  /** Takes claims until everything below `to` is covered. */
  reach(raw: RawKey, to: Offset): boolean {
    const claimed = this.#of(raw);
    let taken = 0;
    for (; claimed.offset < to && taken < claimed.waiting.length; taken++) {
      const { offset, ends } = claimed.waiting[taken]!;
      claimed.offset = offset;
      for (const [place, end] of ends) claimed.ends.set(place, Math.max(end, claimed.ends.get(place) ?? 0));
    }
    if (taken > 0) claimed.waiting.splice(0, taken);
    this.size -= taken;
    return claimed.offset >= to;
  }

  /** Everything below `to` is claimed by some other mapping. */
  isOthers(raw: RawKey, to: Offset): boolean {
    return (this.#others.get(raw) ?? 0) >= to;
  }

  /** Mapped partitions, by number, with the ends of everything that `reach` took. */
  ends(raw: RawKey): ReadonlyMap<number, Offset> {
    if (!guarded('claim-ends')) return NONE;
    return this.#raw.get(raw)?.ends ?? NONE;
  }

  /** Where the claims topic is to be read from, so that none that was not taken is missed. */
  readFrom(next: Offset): Offset {
    let lowest = next;
    for (const { waiting } of this.#raw.values()) if (waiting.length > 0) lowest = Math.min(lowest, waiting[0]!.at);
    return lowest;
  }

  /** Raw partitions that anything was said of. */
  raws(): Iterable<RawKey> {
    return this.#raw.keys();
  }

  /** What `reach` has taken of a raw partition. */
  taken(raw: RawKey): { readonly offset: Offset; readonly ends: ReadonlyMap<number, Offset> } {
    return this.#of(raw);
  }
}

function numbered(ends: RawPlaceMark['ends'], placeOf: PlaceOf): readonly (readonly [number, Offset])[] {
  return ends.flatMap(([topic, partition, end]) => {
    const place = placeOf(topic, partition);
    return place === undefined ? [] : [[place, end] as const];
  });
}

function highest(ends: readonly (readonly [number, Offset])[]): readonly (readonly [number, Offset])[] {
  const of = new Map<number, Offset>();
  for (const [place, end] of ends) of.set(place, Math.max(end, of.get(place) ?? 0));
  return [...of];
}
