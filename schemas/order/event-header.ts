/**
 * The header `cf` of each record in raw and mapped topics. Guarantee: encode and decode are inverse; a record's identity is (topic index,
 * raw partition, raw Kafka offset), its place in the order is v, and both survive the way through the transformer unchanged.
 */
import { invariant } from '../errors.ts';

/** Name of the Kafka header. */
export const EVENT_HEADER = 'cf';
/** Exact text of values that the wire's type cannot carry: JSON {"a": {"<field>": text}, "b": {…}} (after, before). */
export const EXACT_HEADER = 'cfx';
/** Of a changed key: the other key's bytes, as they stand in that record's key, in base64: Connect's workers parse what looks like JSON. */
export const OLD_KEY_HEADER = 'cfo';
export const NEW_KEY_HEADER = 'cfn';
/** The same for other readers, as the connector's worker writes it. */
export const DEBEZIUM_OLD_KEY = '__debezium.oldkey';
export const DEBEZIUM_NEW_KEY = '__debezium.newkey';

export const EVENT = {
  /** A row of a chunk; `sub` is its ordinal in the chunk frame. */
  chunk: 1,
  /** Create half of a key change: the whole update. */
  movedHere: 2,
  /** Delete half of a key change; the create half stands for both. */
  movedAway: 4,
  /** The null-value record behind a delete: for other readers. */
  tombstone: 8,
  /** A truncate, told to every partition: for other readers. */
  truncate: 16,
} as const;

/** What the reader says of a record. */
export interface EventHeader {
  readonly flags: number;
  /** Index of the raw topic in the order topic's directory (order-record.ts). */
  readonly topic: number;
  readonly epoch: number;
  /** Record number of the frame in the raw log (below 2^48). */
  readonly v: number;
  /** Ordinal within the frame: of a chunk's row; 1 for the delete half of a key change. */
  readonly sub: number;
  /** Source relation (a leaf's own). */
  readonly oid: number;
  /** Bit i set: field i of `after` is absent (unchanged TOAST). Empty: none is. */
  readonly absent: Buffer;
}

/** Where the raw record stood, and what mapped it; added by the transformer. */
export interface RawPlace {
  readonly partition: number;
  readonly offset: number;
  /** Tag of the table's mapping (mapping/table-tag.ts). */
  readonly mapping: number;
}

export function encodeOtherKey(key: Buffer): Buffer {
  return Buffer.from(key.toString('base64url'), 'latin1');
}

export function decodeOtherKey(header: Buffer): Buffer {
  return Buffer.from(header.toString('latin1'), 'base64url');
}

/** Of a header without a bitmap. */
export const FIXED_BYTES = 24;
export const PLACE_BYTES = 14;
const VERSION = 2;
const U48 = 2 ** 48;
const NONE = Buffer.alloc(0);

/** @param into where the caller has memory for a header without a bitmap and a place */
export function encodeEventHeader(header: EventHeader, place?: RawPlace, into?: Buffer): Buffer {
  invariant(header.v >= 0 && header.v < U48, 'a record number has 48 bits');
  const bytes = FIXED_BYTES + header.absent.length + (place === undefined ? 0 : PLACE_BYTES);
  const b = into?.length === bytes ? into : Buffer.allocUnsafe(bytes);
  b[0] = VERSION;
  b[1] = header.flags;
  b.writeUInt16BE(header.topic, 2);
  b.writeUInt32BE(header.epoch, 4);
  b.writeUIntBE(header.v, 8, 6);
  b.writeUInt32BE(header.sub, 14);
  b.writeUInt32BE(header.oid, 18);
  b.writeUInt16BE(header.absent.length, 22);
  header.absent.copy(b, FIXED_BYTES);
  if (place !== undefined) writePlace(b, b.length - PLACE_BYTES, place);
  return b;
}

/** A raw header with its record's place behind it, without decoding it. */
export function withPlace(raw: Buffer, place: RawPlace): Buffer {
  const b = Buffer.allocUnsafe(raw.length + PLACE_BYTES);
  raw.copy(b, 0);
  writePlace(b, b.length - PLACE_BYTES, place);
  return b;
}

export function writePlace(b: Buffer, at: number, place: RawPlace): void {
  b.writeUInt16BE(place.partition, at);
  b.writeUIntBE(place.offset, at + 2, 6);
  b.writeUIntBE(place.mapping, at + 8, 6);
}

export function decodeEventHeader(b: Buffer): EventHeader {
  invariant(b[0] === VERSION, `an event header of version ${b[0]}`);
  const absentBytes = u16(b, 22);
  return {
    flags: b[1]!,
    topic: u16(b, 2),
    epoch: u32(b, 4),
    v: u48(b, 8),
    sub: u32(b, 14),
    oid: u32(b, 18),
    absent: absentBytes === 0 ? NONE : b.subarray(FIXED_BYTES, FIXED_BYTES + absentBytes),
  };
}

/** Of a mapped record's header. */
export function decodePlace(b: Buffer): RawPlace {
  const at = b.length - PLACE_BYTES;
  return { partition: u16(b, at), offset: u48(b, at + 2), mapping: u48(b, at + 8) };
}

/** Per record, where the engine's own readers cost as much as all the rest. */
function u16(b: Buffer, at: number): number {
  return (b[at]! << 8) | b[at + 1]!;
}

function u32(b: Buffer, at: number): number {
  return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
}

function u48(b: Buffer, at: number): number {
  return u16(b, at) * 0x1_0000_0000 + u32(b, at + 2);
}
