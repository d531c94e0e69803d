/**
 * Guarantee: a key goes to the partition that a Java Kafka producer with the default partitioner would choose, whichever adapter
 * stores it.
 */

const M = 0x5bd1e995;
const SEED = 0x9747b28c;

/** Signed 32-bit murmur2, bit for bit as org.apache.kafka.common.utils.Utils.murmur2. */
export function murmur2(key: Uint8Array): number {
  const length = key.length;
  const view = new DataView(key.buffer, key.byteOffset, length);
  const whole = length & ~3;
  let hash = SEED ^ length;
  for (let at = 0; at < whole; at += 4) {
    let word = Math.imul(view.getInt32(at, true), M);
    word ^= word >>> 24;
    hash = Math.imul(hash, M) ^ Math.imul(word, M);
  }
  const rest = length - whole;
  if (rest === 3) hash ^= view.getUint8(whole + 2) << 16;
  if (rest >= 2) hash ^= view.getUint8(whole + 1) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ view.getUint8(whole), M);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, M);
  return (hash ^ (hash >>> 15)) | 0;
}

export function partitionOf(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}
