/** pgoutput messages as a server would send them. Guarantee: what message.ts decodes of them is what was given. */
import { TAG, type Relation } from './message.ts';

const PG_EPOCH_MS = 946_684_800_000;

export interface TransactionEnds {
  readonly commitLsn: bigint;
  readonly endLsn: bigint;
  readonly commitTimeMs: number;
}

export function encodeBegin({ commitLsn, commitTimeMs }: Omit<TransactionEnds, 'endLsn'>): Buffer {
  const m = Buffer.alloc(21);
  m[0] = TAG.begin;
  m.writeBigUInt64BE(commitLsn, 1);
  m.writeBigInt64BE(pgMicros(commitTimeMs), 9);
  return m;
}

export function encodeCommit({ commitLsn, endLsn, commitTimeMs }: TransactionEnds): Buffer {
  const m = Buffer.alloc(26);
  m[0] = TAG.commit;
  m.writeBigUInt64BE(commitLsn, 2);
  m.writeBigUInt64BE(endLsn, 10);
  m.writeBigInt64BE(pgMicros(commitTimeMs), 18);
  return m;
}

export function encodeRelation({ oid, schema, name, replicaIdentity, columns }: Relation): Buffer {
  const head = Buffer.alloc(5);
  head[0] = TAG.relation;
  head.writeUInt32BE(oid, 1);
  const count = Buffer.alloc(2);
  count.writeUInt16BE(columns.length);
  const parts = [head, Buffer.from(`${schema}\0${name}\0${replicaIdentity}`, 'utf8'), count];
  for (const { name: column, isKey, typeOid, typmod } of columns) {
    const tail = Buffer.alloc(8);
    tail.writeUInt32BE(typeOid);
    tail.writeInt32BE(typmod, 4);
    parts.push(Buffer.from([isKey ? 1 : 0]), Buffer.from(`${column}\0`, 'utf8'), tail);
  }
  return Buffer.concat(parts);
}

/** A table of the source emptied, and nothing else. */
export function encodeTruncate(oid: number): Buffer {
  const m = Buffer.alloc(10);
  m[0] = TAG.truncate;
  m.writeUInt32BE(1, 1);
  m.writeUInt32BE(oid, 6);
  return m;
}

function pgMicros(unixMs: number): bigint {
  return BigInt(unixMs - PG_EPOCH_MS) * 1000n;
}
