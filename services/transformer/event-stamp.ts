/**
 * What stands beside an event: the header that says where it comes from. Guarantee: a mapped record carries its raw record's header with
 * its place and its mapping's tag, so that a reader can tell a repeat, and what another file made; the bitmap in it speaks of the mapped columns.
 */
import type { FetchedRecord, KafkaHeader } from '#connectors/change-log/kafka/cluster.ts';
import {
  decodeEventHeader,
  encodeEventHeader,
  EVENT,
  EVENT_HEADER,
  NEW_KEY_HEADER,
  OLD_KEY_HEADER,
  withPlace,
  type RawPlace,
} from '#schemas/order/event-header.ts';
import { encodeForeignHeader, FOREIGN_HEADER } from '#schemas/order/foreign-header.ts';

/** What is known of a raw record before its value is read. */
export interface EventMarks {
  /** Header `cf` of an event of ours. */
  readonly cf: Buffer | undefined;
  readonly flags: number;
  readonly absent: Buffer;
  /** Of a key change: the header that holds the other key. */
  readonly otherKey: string | undefined;
}

export interface EventStamps {
  /** No relation in the stream tells of the table's shape: each record's own columns do. */
  readonly isForeign: boolean;
  /** Undefined for a record that is no event of this kind. */
  read(record: FetchedRecord): EventMarks | undefined;
  write(marks: EventMarks, place: RawPlace, mapped: { readonly flags: number; readonly absent: Buffer }): KafkaHeader;
}

const NO_BYTES = Buffer.alloc(0);
const FLAGS_AT = 1;
const ABSENT_LENGTH_AT = 22;
const ABSENT_AT = 24;
const MOVED = EVENT.movedHere | EVENT.movedAway;

/** Of raw topics that our reader writes. */
export const ownStamps: EventStamps = {
  isForeign: false,
  read: (record) => {
    const cf = record.header(EVENT_HEADER);
    if (cf === undefined) return undefined;
    const flags = cf[FLAGS_AT]!;
    const absent = cf.length === ABSENT_AT ? NO_BYTES : cf.subarray(ABSENT_AT, ABSENT_AT + cf.readUInt16BE(ABSENT_LENGTH_AT));
    const otherKey = (flags & MOVED) === 0 ? undefined : (flags & EVENT.movedHere) === 0 ? NEW_KEY_HEADER : OLD_KEY_HEADER;
    return { cf, flags, absent, otherKey };
  },
  write: ({ cf, flags: were }, place, { flags, absent }) => {
    const asItIs = flags === were && absent.length === 0 && cf!.length === ABSENT_AT;
    const value = asItIs ? withPlace(cf!, place) : encodeEventHeader({ ...decodeEventHeader(cf!), flags, absent }, place);
    return { name: EVENT_HEADER, value };
  },
};

const FOREIGN_MARKS: EventMarks = { cf: undefined, flags: 0, absent: NO_BYTES, otherKey: undefined };

/** Of a topic that somebody else's connector writes; `topic` is its index in the directory. */
export function foreignStamps(topic: number): EventStamps {
  return {
    isForeign: true,
    // A key that changed is a delete and a create, each for itself; the other key in its header is a text of the worker's header converter.
    read: () => FOREIGN_MARKS,
    write: (_, { partition, offset, mapping }, { absent }) => ({
      name: FOREIGN_HEADER,
      value: encodeForeignHeader({ topic, partition, offset, mapping, absent }),
    }),
  };
}
