/**
 * The newest durable batches of one partition, in memory. Guarantee: holds at most `limitBytes` and only what is durable; a batch of
 * several parts is joined once, when the first reader asks, and shared by all.
 */
import type { Offset, ReadBatch } from '#connectors/change-log/change-log.ts';

interface Entry {
  readonly baseOffset: Offset;
  readonly count: number;
  readonly size: number;
  parts: readonly Buffer[];
  joined: ReadBatch | undefined;
}

export class Tail {
  readonly #limitBytes: number;
  #entries: Entry[] = [];
  /** Entries below it were dropped; the array is cut only now and then, so that dropping costs nothing. */
  #first = 0;
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  push(baseOffset: Offset, count: number, parts: readonly Buffer[], size: number): void {
    this.#entries.push({ baseOffset, count, size, parts, joined: undefined });
    this.#bytes += size;
    while (this.#bytes > this.#limitBytes) {
      const dropped = this.#entries[this.#first]!;
      this.#bytes -= dropped.size;
      dropped.parts = [];
      dropped.joined = undefined;
      this.#first += 1;
    }
    if (this.#first > 64 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The batch that holds `offset`, when it is still here. */
  find(offset: Offset): ReadBatch | undefined {
    let low = this.#first;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.baseOffset <= offset) low = middle + 1;
      else high = middle;
    }
    const entry = low > this.#first ? this.#entries[low - 1]! : undefined;
    return entry !== undefined && offset < entry.baseOffset + entry.count ? join(entry) : undefined;
  }

  clear(): void {
    this.#entries = [];
    this.#first = 0;
    this.#bytes = 0;
  }
}

function join(entry: Entry): ReadBatch {
  if (entry.joined === undefined) {
    const bytes = entry.parts.length === 1 ? entry.parts[0]! : Buffer.concat(entry.parts, entry.size);
    entry.parts = [bytes];
    entry.joined = { baseOffset: entry.baseOffset, count: entry.count, bytes };
  }
  return entry.joined;
}
