/**
 * What the transformers have said. Guarantee: `reach` answers true only when claims cover every raw offset from what was taken up to the
 * one asked for, without a gap between them, and the ends it leaves are then those of every claim of that raw partition up to and with
 * it, so everything below that offset lies below them.
 *
 * A claim that does not join the ones before it waits apart (what lies between was removed before it was mapped, or the claims were), and so
 * does one of a mapping that was first read where older outputs had been removed, when that is behind the claim's first output.
 *
 * Only claims of the mappings named count: what another file's transformer has mapped is not there for whoever reads by this one.
 *
 * Claims are taken one by one, not all at once: the ends of a claim far ahead would make the first segment wait for (and the memory
 * hold) all that lies before them.
 */
import type { Claim, ClaimEntry } from '#schemas/order/order-record.ts';
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
  /** Each joins the one before. */
  waiting: Waiting[];
  /** Those that do not join yet. */
  apart: (Waiting & { readonly from: Offset })[];
}

/** Number of a mapped partition; undefined for one that is not read. */
type PlaceOf = (topic: string, partition: number) => number | undefined;

const NONE: ReadonlyMap<number, Offset> = new Map();

export interface ClaimBookOptions {
  readonly placeOf: PlaceOf;
  /** Tags of the mappings that rows are read by. */
  readonly mappings: ReadonlySet<number>;
  readonly marks: readonly RawPlaceMark[];
  /** Mapping's tag → where its mapped partitions were first read, of those that were not read from their beginning. */
  readonly begins: ReadonlyMap<number, readonly Offset[]>;
  /** Of the mapping with the tag (branches.ts). */
  readonly branchOf: (mapping: number) => number;
  /** What of a raw partition is wanted no more. */
  readonly takenOf: (raw: RawKey) => Offset;
}

export class ClaimBook {
  readonly #options: ClaimBookOptions;
  readonly #placeOf: PlaceOf;
  readonly #mappings: ReadonlySet<number>;
  readonly #raw = new Map<RawKey, Claimed>();
  /** What was claimed by other mappings: raw offset. */
  readonly #others = new Map<RawKey, Offset>();
  /** Claims read and not taken. */
  size = 0;

  constructor(options: ClaimBookOptions) {
    const { placeOf, mappings, marks } = options;
    this.#options = options;
    this.#placeOf = placeOf;
    this.#mappings = mappings;
    for (const { raw, claimed, ends } of marks) {
      this.#raw.set(raw, {
        offset: claimed,
        ends: new Map(numbered(ends, placeOf)),
        waiting: [],
        apart: [],
      });
    }
  }

  add(claim: Claim, at: Offset): void {
    for (const entry of claim.entries) {
      const raw = rawKey(entry.topic, entry.partition, this.#options.branchOf(entry.mapping));
      if (!this.#mappings.has(entry.mapping) && guarded('table-tag')) {
        this.#others.set(raw, Math.max(entry.offset, this.#others.get(raw) ?? 0));
        continue;
      }
      const claimed = this.#of(raw);
      // A replaced transformer's, or read again: what it covers is covered.
      if (entry.offset <= this.#covered(raw, claimed)) continue;
      const named = Object.entries(entry.ends).flatMap(([topic, partitions]) =>
        partitions.map(([partition, end]) => [topic, partition, end] as const),
      );
      const ends = numbered(named, this.#placeOf);
      const joins = !guarded('claim-gap') || (this.#isKept(entry) && this.#joins(raw, claimed, entry.from ?? 0));
      if (joins) claimed.waiting.push({ offset: entry.offset, ends, at });
      else claimed.apart.push({ from: this.#isKept(entry) ? (entry.from ?? 0) : Infinity, offset: entry.offset, ends, at });
      this.size++;
      this.#joinApart(raw, claimed);
      if (claimed.waiting.length > WAITING_MAX) claimed.waiting = this.#thinned(claimed.waiting, isNeighbour);
      if (claimed.apart.length > WAITING_MAX) claimed.apart = this.#thinned(claimed.apart, (one, two) => one.offset === two.from);
    }
  }

  #joins(raw: RawKey, claimed: Claimed, from: Offset): boolean {
    return from <= this.#covered(raw, claimed);
  }

  #covered(raw: RawKey, claimed: Claimed): Offset {
    return Math.max(claimed.waiting.at(-1)?.offset ?? claimed.offset, this.#options.takenOf(raw));
  }

  /** All that it speaks of is still there, as far as it is needed. */
  #isKept({ mapping, ends }: ClaimEntry): boolean {
    const begins = this.#options.begins.get(mapping);
    if (begins === undefined) return true;
    return Object.values(ends).every((partitions) => partitions.every(([partition, , begin = 0]) => begin >= (begins[partition] ?? 0)));
  }

  /** What lay between may have been covered, or be wanted no more. */
  #joinApart(raw: RawKey, claimed: Claimed): void {
    for (let i = 0; i < claimed.apart.length;) {
      const { from, ...waiting } = claimed.apart[i]!;
      const isCovered = waiting.offset <= this.#covered(raw, claimed);
      if (!isCovered && !this.#joins(raw, claimed, from)) {
        i++;
        continue;
      }
      claimed.apart.splice(i, 1);
      if (isCovered) this.size--;
      else claimed.waiting.push(waiting);
      i = 0;
    }
  }

  /** Up to where it is claimed without a gap, whatever `reach` has taken. */
  covered(raw: RawKey): Offset {
    return this.#covered(raw, this.#of(raw));
  }

  /** Something is claimed beyond `to`, and what comes before it is not there. */
  isApart(raw: RawKey, to: Offset): boolean {
    return this.#of(raw).apart.some(({ offset }) => offset >= to);
  }

  #of(raw: RawKey): Claimed {
    let claimed = this.#raw.get(raw);
    if (claimed === undefined) this.#raw.set(raw, (claimed = { offset: 0, ends: new Map(), waiting: [], apart: [] }));
    return claimed;
  }

  /** Neighbours that join become one. */
  #thinned<T extends Waiting>(claims: readonly T[], join: (one: T, two: T) => boolean): T[] {
    const kept: T[] = [];
    for (let i = 0; i < claims.length; i++) {
      const [first, second] = [claims[i]!, claims[i + 1]];
      if (second === undefined || !join(first, second)) kept.push(first);
      else {
        kept.push({ ...first, offset: second.offset, at: Math.min(first.at, second.at), ends: highest([...first.ends, ...second.ends]) });
        i++;
      }
    }
    this.size -= claims.length - kept.length;
    return kept;
  }

  /** Takes claims until everything below `to` is covered. */
  reach(raw: RawKey, to: Offset): boolean {
    const claimed = this.#of(raw);
    this.#joinApart(raw, claimed);
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
    // Not in the order in which they came: what was apart joins behind what came later.
    for (const { waiting, apart } of this.#raw.values()) for (const { at } of [...waiting, ...apart]) lowest = Math.min(lowest, at);
    return lowest;
  }

  /** Raw partitions that something is known of. */
  raws(): Iterable<RawKey> {
    return this.#raw.keys();
  }

  /** What `reach` has taken of a raw partition. */
  taken(raw: RawKey): { readonly offset: Offset; readonly ends: ReadonlyMap<number, Offset> } {
    return this.#of(raw);
  }
}

function isNeighbour(): boolean {
  return true;
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
