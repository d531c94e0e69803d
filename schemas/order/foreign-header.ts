/**
 * The header `cfs` of a mapped record that was made of another's change event (Debezium's own topics), which has no place in an order of
 * ours. Guarantee: encode and decode are inverse; within one mapped partition the offsets of one input partition come in ascending order,
 * but for repeats: what lies at or below the last one seen has been seen.
 */
import { invariant } from '../errors.ts';

export const FOREIGN_HEADER = 'cfs';

/** Where the input record stood. */
export interface ForeignHeader {
  /** Index of the input topic in the order topic's directory (order-record.ts). */
  readonly topic: number;
  readonly partition: number;
  readonly offset: number;
  /** Tag of the mapping that made the record (mapping/table-tag.ts). */
  readonly mapping: number;
  /** Bit i set: field i of `after` is absent. Empty: none is. */
  readonly absent: Buffer;
}

const VERSION = 2;
const FIXED_BYTES = 17;

export function encodeForeignHeader({ topic, partition, offset, mapping, absent }: ForeignHeader): Buffer {
  const b = Buffer.allocUnsafe(FIXED_BYTES + absent.length);
  b[0] = VERSION;
  b.writeUInt16BE(topic, 1);
  b.writeUInt16BE(partition, 3);
  b.writeUIntBE(offset, 5, 6);
  b.writeUIntBE(mapping, 11, 6);
  absent.copy(b, FIXED_BYTES);
  return b;
}

export function decodeForeignHeader(b: Buffer): ForeignHeader {
  invariant(b[0] === VERSION, `a header of version ${b[0]}`);
  return {
    topic: b.readUInt16BE(1),
    partition: b.readUInt16BE(3),
    offset: b.readUIntBE(5, 6),
    mapping: b.readUIntBE(11, 6),
    absent: b.subarray(FIXED_BYTES),
  };
}
