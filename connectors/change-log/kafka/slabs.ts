/**
 * Memory that record batches are built and compressed in. Guarantee: a slab is in one builder's hands at a time; whoever gives one back
 * reads it no more. Kept because each one allocated anew counts as external memory, and that is what sets V8's collections of the whole heap off.
 */
const SIZES: readonly number[] = [4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024];
/** Of each size: what a group's partitions take at a time. */
const KEPT_MAX = 8;
const SCRATCH_BYTES_MAX = 1024 * 1024;

const kept = new Map<number, Buffer[]>(SIZES.map((size) => [size, []]));
let scratch = Buffer.alloc(0);

/** @param wanted bytes that the slab should have; it has `needed` at least */
export function takeSlab(wanted: number, needed: number): Buffer {
  const size = SIZES.find((one) => one >= wanted && one >= needed) ?? Math.max(SIZES.at(-1)!, needed);
  return kept.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}

export function giveSlab(slab: Buffer): void {
  const others = kept.get(slab.length);
  if (others !== undefined && others.length < KEPT_MAX) others.push(slab);
}

/** The parts as one, until the next call. */
export function joined(parts: readonly Buffer[]): Buffer {
  if (parts.length === 1) return parts[0]!;
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (bytes > SCRATCH_BYTES_MAX) return Buffer.concat(parts);
  if (scratch.length < bytes) scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES_MAX);
  let at = 0;
  for (const part of parts) {
    scratch.set(part, at);
    at += part.length;
  }
  return scratch.subarray(0, bytes);
}
