/** Records of the progress topic that the follower owns (the copier's are in copy/). Each is one JSON object with a type `t`. */
import type { Offset } from '#connectors/change-log/change-log.ts';

/** A reader started; its offset in the topic is the epoch. */
export interface EpochRecord {
  readonly t: 'epoch';
  readonly systemId: string;
  readonly timeline: number;
}

/** Written before the slot moves: where a later start looks for the tail, and how far the slot may have moved. */
export interface DurableRecord {
  readonly t: 'durable';
  /** Raw offset behind the commit named; nothing at or above it was durable when this was written, or little. */
  readonly offset: Offset;
  readonly commitLsn: string;
  readonly endLsn: string;
  /** LSN that the slot is told after this record. */
  readonly confirm: string;
}

/** A relation message stands at this raw offset; a sink that resumes above it takes it from here. */
export interface RelationRecord {
  readonly t: 'relation';
  readonly offset: Offset;
  readonly oid: number;
  /** The pgoutput message, base64. */
  readonly frame: string;
}

/** Under what each relation is published: what differs at the next look was not streamed in between. */
export interface PublicationRecord {
  readonly t: 'publication';
  /** Relation oid → print. */
  readonly prints: Readonly<Record<string, string>>;
}

/** Everything below this offset of the requests topic was handed on and is durable. */
export interface RequestsRecord {
  readonly t: 'requests';
  readonly offset: Offset;
}

export type ReaderRecord = EpochRecord | DurableRecord | RelationRecord | PublicationRecord;
