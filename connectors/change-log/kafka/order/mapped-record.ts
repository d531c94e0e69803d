/**
 * Mapped records as gathering sees them. Guarantee: a record that stands for a change names its raw record and its mapping; one that is
 * written for other readers only is none.
 */
import { decodeEventHeader, decodeOtherKey, decodePlace, EVENT, EVENT_HEADER, EXACT_HEADER, OLD_KEY_HEADER, type EventHeader } from '#schemas/order/event-header.ts'; // prettier-ignore
import { FAULT_HEADER } from '#schemas/order/fault-header.ts';
import { decodeForeignHeader, FOREIGN_HEADER } from '#schemas/order/foreign-header.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { FetchedRecord } from '../cluster.ts';
import { rawKey, type RawKey } from './bookmark.ts';
import { FOREIGN, type MappedRow } from './row-buffer.ts';

/** What a record says of itself. */
export interface Told {
  readonly header: EventHeader;
  readonly raw: RawKey;
  /** Of the raw record. */
  readonly offset: Offset;
  /** Tag of what mapped it. */
  readonly mapping: number;
}

/** Undefined for what is written for other readers: the change itself comes besides. */
export function toldBy(record: FetchedRecord): Told | undefined {
  const cf = record.header(EVENT_HEADER);
  if (cf !== undefined) {
    const header = decodeEventHeader(cf);
    if ((header.flags & (EVENT.tombstone | EVENT.truncate)) !== 0) return undefined;
    const { partition, offset, mapping } = decodePlace(cf);
    return { header, raw: rawKey(header.topic, partition), offset, mapping };
  }
  const cfs = record.header(FOREIGN_HEADER);
  if (cfs === undefined || (record.key !== undefined && record.value === undefined)) return undefined;
  const { topic, partition, offset, mapping, absent } = decodeForeignHeader(cfs);
  const header = { flags: 0, topic, epoch: FOREIGN, v: 0, sub: 0, oid: 0, absent };
  return { header, raw: rawKey(topic, partition), offset, mapping };
}

export function rowOf(record: FetchedRecord, { header, raw, offset }: Told, place: number): MappedRow {
  return {
    raw,
    rawOffset: offset,
    place,
    at: record.offset,
    epoch: header.epoch,
    v: header.v,
    sub: header.sub,
    flags: header.flags,
    oid: header.oid,
    absent: header.absent,
    value: record.value,
    exact: record.header(EXACT_HEADER),
    fault: record.value === undefined ? record.header(FAULT_HEADER) : undefined,
    oldKey: (header.flags & EVENT.movedHere) === 0 ? undefined : oldKeyOf(record),
  };
}

function oldKeyOf(record: FetchedRecord): Buffer | undefined {
  const header = record.header(OLD_KEY_HEADER);
  return header === undefined ? undefined : decodeOtherKey(header);
}
