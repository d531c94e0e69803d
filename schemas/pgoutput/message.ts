/**
 * pgoutput messages (protocol version 1; https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html),
 * decoded lazily: the hot path reads a tag and a relation OID, and goes into the tuple only for the columns it needs.
 * Guarantee: nothing here copies or keeps the buffer it is given.
 */
import { readLsn, type Lsn } from '../lsn.ts';

export const TAG = {
  begin: 0x42, // B
  commit: 0x43, // C
  origin: 0x4f, // O
  relation: 0x52, // R
  type: 0x59, // Y
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  message: 0x4d, // M
} as const;

export interface Begin {
  /** LSN at which the commit record starts: the transaction's position. */
  readonly commitLsn: Lsn;
  /** Microseconds since 2000-01-01 UTC. */
  readonly commitTime: bigint;
  readonly xid: number;
}

export function decodeBegin(m: Buffer): Begin {
  return { commitLsn: readLsn(m, 1), commitTime: m.readBigInt64BE(9), xid: m.readUInt32BE(17) };
}

export interface Commit {
  readonly commitLsn: Lsn;
  /** First byte after the commit record: exclusive end of the transaction. */
  readonly endLsn: Lsn;
  readonly commitTime: bigint;
}

export function decodeCommit(m: Buffer): Commit {
  return { commitLsn: readLsn(m, 2), endLsn: readLsn(m, 10), commitTime: m.readBigInt64BE(18) };
}

const PG_EPOCH_MICROS = 946_684_800_000_000n;

/** Milliseconds since 1970, from pgoutput's microseconds since 2000. */
export function toUnixMs(pgMicros: bigint): number {
  return Number((pgMicros + PG_EPOCH_MICROS) / 1000n);
}

export interface RelationColumn {
  readonly name: string;
  readonly isKey: boolean;
  readonly typeOid: number;
  readonly typmod: number;
}

/** A table (or leaf) as the stream describes it from here on. */
export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly replicaIdentity: string;
  readonly columns: readonly RelationColumn[];
}

export function decodeRelation(m: Buffer): Relation {
  let at = 5;
  const text = (): string => {
    const end = m.indexOf(0, at);
    const value = m.toString('utf8', at, end);
    at = end + 1;
    return value;
  };
  const oid = m.readUInt32BE(1);
  const schema = text() || 'pg_catalog';
  const name = text();
  const replicaIdentity = String.fromCharCode(m[at]!);
  const count = m.readUInt16BE(at + 1);
  at += 3;
  const columns: RelationColumn[] = [];
  for (let i = 0; i < count; i++) {
    const isKey = (m[at++]! & 1) === 1;
    const columnName = text();
    columns.push({ name: columnName, isKey, typeOid: m.readUInt32BE(at), typmod: m.readInt32BE(at + 4) });
    at += 8;
  }
  return { oid, schema, name, replicaIdentity, columns };
}

export interface Truncate {
  readonly oids: readonly number[];
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}

export function decodeTruncate(m: Buffer): Truncate {
  const count = m.readUInt32BE(1);
  const options = m[5]!;
  const oids: number[] = [];
  for (let i = 0; i < count; i++) oids.push(m.readUInt32BE(6 + 4 * i));
  return { oids, cascade: (options & 1) !== 0, restartIdentity: (options & 2) !== 0 };
}

export interface Origin {
  /** Commit LSN on the server that the transaction came from, as its writer told it. */
  readonly lsn: Lsn;
  readonly name: string;
}

export function decodeOrigin(m: Buffer): Origin {
  return { lsn: readLsn(m, 1), name: m.toString('utf8', 9, m.indexOf(0, 9)) };
}

export interface LogicalMessage {
  readonly transactional: boolean;
  readonly lsn: Lsn;
  readonly prefix: string;
  readonly content: Buffer;
}

export function decodeMessage(m: Buffer): LogicalMessage {
  const end = m.indexOf(0, 10);
  const length = m.readUInt32BE(end + 1);
  return {
    transactional: (m[1]! & 1) === 1,
    lsn: readLsn(m, 2),
    prefix: m.toString('utf8', 10, end),
    content: m.subarray(end + 5, end + 5 + length),
  };
}

/** Relation OID of an insert, update or delete. */
export function relationOid(m: Buffer): number {
  return m.readUInt32BE(1);
}

/** Column kinds within a tuple. */
export const KIND = { null: 0x6e, absent: 0x75, text: 0x74, binary: 0x62 } as const;

/**
 * Offsets of the tuples in an insert, update or delete; 0 = not there.
 * `old` is the tuple after 'K' or 'O' (`oldFull` tells which), `next` the one after 'N'.
 * Each offset points at the tuple's Int16 column count.
 */
export interface TupleOffsets {
  old: number;
  oldFull: boolean;
  next: number;
}

/** Fills `into` (reused by the caller: the hot path allocates nothing). */
export function locateTuples(m: Buffer, into: TupleOffsets): void {
  into.old = 0;
  into.oldFull = false;
  into.next = 0;
  const tag = m[0]!;
  const first = m[5]!;
  if (tag === TAG.insert) {
    into.next = 6;
  } else if (tag === TAG.delete) {
    into.old = 6;
    into.oldFull = first === 0x4f;
  } else if (first === 0x4e) {
    into.next = 6;
  } else {
    into.old = 6;
    into.oldFull = first === 0x4f;
    into.next = skipTuple(m, 6) + 1;
  }
}

/** Offset just behind the tuple at `at`. */
export function skipTuple(m: Buffer, at: number): number {
  const count = (m[at]! << 8) | m[at + 1]!;
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const kind = m[p++]!;
    if (kind === KIND.text || kind === KIND.binary) p += 4 + m.readUInt32BE(p);
  }
  return p;
}

/** One tuple as values: text, null, or undefined for absent (unchanged TOAST). For paths that are not hot. */
export function decodeTuple(m: Buffer, at: number): (string | null | undefined)[] {
  const count = m.readUInt16BE(at);
  const values: (string | null | undefined)[] = [];
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const kind = m[p++]!;
    if (kind === KIND.null) values.push(null);
    else if (kind === KIND.absent) values.push(undefined);
    else {
      const length = m.readUInt32BE(p);
      values.push(m.toString('utf8', p + 4, p + 4 + length));
      p += 4 + length;
    }
  }
  return values;
}
