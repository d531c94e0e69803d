/** Where gathering can begin again. Guarantee: read from these Kafka offsets on, with what is kept here, every segment from `base` on comes whole. */
import type { TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';

/** A raw partition, and on which way to a target its rows are, as one number. */
export type RawKey = number;

const PARTITIONS = 0x10000;
const BRANCHES = PARTITIONS * 0x10000;

/** `branch`: of a table that goes to several targets (branches.ts); 0 where nothing is mapped yet. */
export function rawKey(topic: number, partition: number, branch = 0): RawKey {
  return branch * BRANCHES + topic * PARTITIONS + partition;
}

export function topicOf(raw: RawKey): number {
  return Math.floor(raw / PARTITIONS) % PARTITIONS;
}

export function branchOf(raw: RawKey): number {
  return Math.floor(raw / BRANCHES);
}

export function partitionOf(raw: RawKey): number {
  return raw % PARTITIONS;
}

/** What was taken of one raw partition. */
export interface RawPlaceMark {
  readonly raw: RawKey;
  /** Raw offset below which everything was taken or is void. */
  readonly taken: Offset;
  /** The last claim taken: raw offset and, per mapped partition, where its outputs end. */
  readonly claimed: Offset;
  readonly ends: readonly (readonly [topic: string, partition: number, end: Offset])[];
}

export interface GatherPlace {
  readonly version: 2;
  /** Tags of the mappings whose records and claims were looked at. What others have mapped lies below the offsets here, unread. */
  readonly mappings: readonly number[];
  /** Of each of them, the number of its branch. Absent from bookmarks of before this was kept: as the file that reads has it. */
  readonly branches?: readonly number[];
  /** First record of the segment that comes next. */
  readonly base: Offset;
  /** In the order topic. */
  readonly order: Offset;
  readonly epoch: number;
  /** The directory as it stands there. */
  readonly topics: readonly TopicOrderRecord[];
  /** In the claims topic. */
  readonly claims: Offset;
  /** Mapped topic → offset of each partition. */
  readonly mapped: Readonly<Record<string, readonly Offset[]>>;
  readonly raw: readonly RawPlaceMark[];
  /** Of the order: all below the last checkpoint up to here can go. Absent before there was one. */
  readonly checkpoint?: Offset;
  /** Of tables whose mapping was new once: where reading of their mapped partitions began then. Outputs below it were not seen. */
  readonly begins?: readonly (readonly [mapping: number, offsets: readonly Offset[]])[];
  /** Read since the beginning, about: order and rows. */
  readonly bytes?: number;
  /** Earlier places, ascending: up to where topics may be cut once so much more has been applied (trim-topics.ts). */
  readonly trail?: readonly Cut[];
}

/** Nothing below these offsets is needed by whoever reads from the place that it was taken of, or from a later one. */
export interface Cut {
  /** As of the place. */
  readonly bytes: number;
  readonly order: Offset | undefined;
  readonly claims: Offset;
  readonly mapped: Readonly<Record<string, readonly Offset[]>>;
  readonly raw: readonly (readonly [raw: RawKey, offset: Offset])[];
}

/** Where reading of the topics begins. */
export type ReadingPlace = Pick<GatherPlace, 'order' | 'claims' | 'mapped' | 'raw' | 'bytes' | 'trail'>;

/** Undefined for one that another version wrote: reading begins with the log then. */
export function parsePlace(text: string): GatherPlace | undefined {
  const place = JSON.parse(text) as { readonly version?: number };
  return place.version === 2 ? (place as GatherPlace) : undefined;
}
