/**
 * Keys of one table that are to be copied again. Guarantee: a request is done only when every key of it is durable in the log after
 * the request; a key asked for twice is read once.
 */
import { KEYS_CHUNK } from '#schemas/frame/frame.ts';
import type { RowKey } from './row-key.ts';

/** Keys read by one chunk. */
const CHUNK_KEYS = 500;

export interface KeysChunk {
  readonly kind: 'keys';
  readonly id: string;
  readonly keys: readonly RowKey[];
}

export class KeyQueue {
  readonly #tableName: string;
  /** Requests that wait for each key. */
  #waiting = new Map<RowKey, Set<string>>();
  readonly #inFlight = new Map<string, { readonly chunk: KeysChunk; readonly requests: Map<RowKey, Set<string>>; delivered: boolean }>();
  /** Keys left per request. */
  readonly #left = new Map<string, number>();
  #chunks = 0;

  constructor(tableName: string) {
    this.#tableName = tableName;
  }

  add(request: string, keys: readonly RowKey[]): void {
    const distinct = new Set(keys);
    this.#left.set(request, distinct.size);
    for (const key of distinct) this.#wait(key, request);
  }

  /** The request was done in an earlier run. */
  forget(request: string): boolean {
    if (!this.#left.delete(request)) return false;
    for (const [key, ids] of this.#waiting) if (ids.delete(request) && ids.size === 0) this.#waiting.delete(key);
    return true;
  }

  /** Nothing asked for is still to come into the log. */
  isDelivered(): boolean {
    if (this.#inFlight.size === 0) return this.#waiting.size === 0;
    return this.#waiting.size === 0 && [...this.#inFlight.values()].every((entry) => entry.delivered);
  }

  /** Asked for and not yet in the log: the target may lack the row. */
  isPending(key: RowKey): boolean {
    if (this.#waiting.has(key)) return true;
    for (const entry of this.#inFlight.values()) if (!entry.delivered && entry.requests.has(key)) return true;
    return false;
  }

  isEmpty(): boolean {
    return this.#left.size === 0;
  }

  take(): KeysChunk | undefined {
    if (this.#waiting.size === 0) return undefined;
    const requests = new Map<RowKey, Set<string>>();
    for (const [key, ids] of this.#waiting) {
      requests.set(key, ids);
      if (requests.size === CHUNK_KEYS) break;
    }
    for (const key of requests.keys()) this.#waiting.delete(key);
    const chunk: KeysChunk = {
      kind: 'keys',
      id: `${KEYS_CHUNK}${this.#tableName}#${firstOf(requests)}.${this.#chunks++}`,
      keys: [...requests.keys()],
    };
    this.#inFlight.set(chunk.id, { chunk, requests, delivered: false });
    return chunk;
  }

  giveBack(chunk: KeysChunk): void {
    const entry = this.#inFlight.get(chunk.id);
    this.#inFlight.delete(chunk.id);
    for (const [key, ids] of entry?.requests ?? []) for (const id of ids) this.#wait(key, id);
  }

  deliver(chunk: KeysChunk): void {
    const entry = this.#inFlight.get(chunk.id);
    if (entry) entry.delivered = true;
  }

  /** @returns requests that are done with it. */
  finish(chunk: KeysChunk): readonly string[] {
    const entry = this.#inFlight.get(chunk.id);
    this.#inFlight.delete(chunk.id);
    return this.#countDown(entry?.requests ?? new Map());
  }

  #countDown(requests: ReadonlyMap<RowKey, ReadonlySet<string>>): readonly string[] {
    const done: string[] = [];
    for (const ids of requests.values()) {
      for (const id of ids) {
        const left = (this.#left.get(id) ?? 1) - 1;
        if (left > 0) this.#left.set(id, left);
        else {
          this.#left.delete(id);
          done.push(id);
        }
      }
    }
    return done;
  }

  /** These keys are asked for no more, nor do they come back with a chunk. @returns requests that are done with that; undefined: there were none. */
  drop(keys: readonly RowKey[]): readonly string[] | undefined {
    const requests = new Map<RowKey, Set<string>>();
    for (const from of [this.#waiting, ...[...this.#inFlight.values()].map((entry) => entry.requests)]) {
      for (const key of keys) {
        const ids = from.get(key);
        if (ids === undefined || !from.delete(key)) continue;
        requests.set(key, (requests.get(key) ?? new Set()).union(ids));
      }
    }
    return requests.size === 0 ? undefined : this.#countDown(requests);
  }

  #wait(key: RowKey, request: string): void {
    const ids = this.#waiting.get(key);
    if (ids) ids.add(request);
    else this.#waiting.set(key, new Set([request]));
  }
}

/** The oldest request's id, which no other run gives. */
function firstOf(requests: ReadonlyMap<RowKey, ReadonlySet<string>>): string {
  for (const ids of requests.values()) for (const id of ids) return id;
  return '';
}
