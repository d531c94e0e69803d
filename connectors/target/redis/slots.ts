/**
 * Hash slots of a Redis Cluster, and a fence in each. Guarantee: `slotOf` is the slot that the cluster itself computes; once `raiseFences`
 * resolves, no call under a lower epoch changes a row anywhere.
 */
import { RAISE_FENCE } from './scripts.ts';
import type { RedisClient } from './connection.ts';

const SLOTS = 16_384;
const FENCES_AT_ONCE = 1_024;

const CRC = Uint16Array.from({ length: 256 }, (_, i) => {
  let crc = i << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc & 0xffff;
});

/** Of the hash tag, where there is one that is not empty, else of the whole key. */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  const bytes = Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key);
  let crc = 0;
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ CRC[((crc >> 8) ^ byte) & 0xff]!;
  return crc % SLOTS;
}

let tags: readonly string[] | undefined;

/** A short tag for each slot. */
function slotTags(): readonly string[] {
  if (tags !== undefined) return tags;
  const found = Array.from<string>({ length: SLOTS });
  for (let i = 0, left = SLOTS; left > 0; i++) {
    const tag = i.toString(36);
    const slot = slotOf(tag);
    if (found[slot] !== undefined) continue;
    found[slot] = tag;
    left--;
  }
  return (tags = found);
}

export function fenceKey(name: string, slot: number): string {
  return `crossfade:${name}:fence:{${slotTags()[slot]}}`;
}

export async function raiseFences(client: RedisClient, name: string, epoch: string): Promise<void> {
  for (let from = 0; from < SLOTS; from += FENCES_AT_ONCE) {
    const slots = Array.from({ length: FENCES_AT_ONCE }, (_, i) => from + i);
    await Promise.all(slots.map(async (slot) => client.eval(RAISE_FENCE, 1, fenceKey(name, slot), epoch)));
  }
}
