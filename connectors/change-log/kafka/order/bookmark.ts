/** Where gathering can begin again. Guarantee: read from these Kafka offsets on, with what is kept here, every segment from `base` on comes whole. */
import type { TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';

/** A raw partition, as one number. */
export type RawKey = number;

export function rawKey(topic: number, partition: number): RawKey {
  return topic * 0x10000 + partition;
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
  readonly version: 1;
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
}

/** Undefined for one that another version wrote: reading begins with the log then. */
export function parsePlace(text: string): GatherPlace | undefined {
  const place = JSON.parse(text) as { readonly version?: number };
  return place.version === 1 ? (place as GatherPlace) : undefined;
}
