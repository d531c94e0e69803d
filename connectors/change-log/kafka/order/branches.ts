/**
 * The ways that a source table's rows go: one for each of its targets. Guarantee: a branch means the same mapping to whoever reads by one
 * file. Of a changed file the numbers may be others: what a bookmark says by branch is then found by the mapping's tag, and nothing else is believed.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import { bySource, tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import { branchOf, partitionOf, rawKey, topicOf, type GatherPlace, type RawKey, type RawPlaceMark } from './bookmark.ts';

/** A mapping on its way, with its place in the file's list. */
export interface Branch {
  readonly mapping: TableMapping;
  readonly pair: number;
}

const NONE: readonly Branch[] = [];

export class Branches {
  readonly #bySource: ReadonlyMap<string, readonly Branch[]>;
  readonly #byTag: ReadonlyMap<number, number>;

  constructor({ tables }: CompiledMapping) {
    const pairs = tables.map((mapping, pair) => ({ from: mapping.from, mapping, pair }));
    this.#bySource = bySource(pairs);
    const numbers = [...this.#bySource.values()].flatMap((group) => group.map(({ mapping }, i) => [tableTag(mapping), i] as const));
    this.#byTag = new Map(numbers);
  }

  /** In the order of their numbers; none of a table that the file does not map. */
  of(table: { readonly schema: string; readonly name: string }): readonly Branch[] {
    return this.#bySource.get(tableId(table)) ?? NONE;
  }

  /** Of the mapping with this tag. */
  number(tag: number): number {
    return this.#byTag.get(tag) ?? 0;
  }

  /** A bookmark's marks under this file's numbers. Of a mapping that is new to it nothing is known but how far the raw partitions were taken. */
  renumbered({ mappings, branches, topics, raw }: Pick<GatherPlace, 'mappings' | 'branches' | 'topics' | 'raw'>): readonly RawPlaceMark[] {
    const numbers = new Map(mappings.map((tag, i) => [tag, branches?.[i] ?? this.number(tag)]));
    const tables = new Map(topics.map(({ index, schema, table: name }) => [index, { schema, name }]));
    const marks = new Map(raw.map((mark) => [mark.raw, mark]));
    return [...Map.groupBy(raw, (mark) => rawKey(topicOf(mark.raw), partitionOf(mark.raw)))].flatMap(([key, known]) => {
      const table = tables.get(topicOf(key));
      const ways = table === undefined ? NONE : this.of(table);
      if (ways.length === 0) return known;
      const taken = Math.max(...known.map((mark) => mark.taken));
      return ways.map(({ mapping }, branch): RawPlaceMark => {
        const number = numbers.get(tableTag(mapping));
        const mark = number === undefined ? undefined : marks.get(onBranch(key, number));
        return { raw: onBranch(key, branch), taken, claimed: mark?.claimed ?? 0, ends: mark?.ends ?? [] };
      });
    });
  }
}

/** The same raw partition on its way to each of `count` targets. */
export function eachBranch(topic: number, partition: number, count: number): readonly RawKey[] {
  return Array.from({ length: Math.max(1, count) }, (_, branch) => rawKey(topic, partition, branch));
}

/** Source table and branch of it, as one number. */
export function wayOf(raw: RawKey): number {
  return rawKey(0, topicOf(raw), branchOf(raw));
}

/** The raw partition of `raw`, on another way. */
export function onBranch(raw: RawKey, branch: number): RawKey {
  return branch === 0 ? raw : rawKey(topicOf(raw), partitionOf(raw), branch);
}

/**
 * How far each was taken: what was taken was taken for every target, and a target that is new has none of its own in the bookmark.
 * Of a topic that nothing was taken of, rows can have come before the order's word which topic that is: nobody knows its targets yet.
 */
export function takenOnAll(
  marks: readonly RawPlaceMark[],
  keysOf: (at: { readonly topic: number; readonly partition: number }) => readonly RawKey[],
): (readonly [RawKey, Offset])[] {
  return marks
    .filter(({ raw, taken }) => branchOf(raw) === 0 && taken > 0)
    .flatMap(({ raw, taken }) => keysOf({ topic: topicOf(raw), partition: partitionOf(raw) }).map((key) => [key, taken] as const));
}
