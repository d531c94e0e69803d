/** Keys that the log changed last, by their digests: the names of rows that only the log has. Guarantee: what is kept is bounded; the oldest go first. */
import { idOf } from '#schemas/reconcile/table-aggregate.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';

const KEYS_MAX = 20_000;

export class LateKeys {
  /** By key digest, the latest change last. */
  readonly #keys = new Map<string, Texts>();

  clear(): void {
    this.#keys.clear();
  }

  add(texts: Texts, key: Int32Array): void {
    const id = idOf(key);
    this.#keys.delete(id);
    this.#keys.set(id, texts);
    if (this.#keys.size > KEYS_MAX) this.#keys.delete(this.#keys.keys().next().value!);
  }

  textsOf(key: Int32Array): Texts | undefined {
    return this.#keys.get(idOf(key));
  }
}
