/**
 * Keys that the log has changed, in its order. Guarantee: of every change from `since` on the key is told, or that there were too many; what is
 * kept is bounded.
 */
import type { Lsn } from '#schemas/lsn.ts';
import { idOf } from '#schemas/reconcile/table-aggregate.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';

const KEYS_MAX = 20_000;

interface TouchedKey {
  readonly texts: Texts;
  readonly lsn: Lsn;
}

export class TouchedKeys {
  /** By key digest, the latest change last. */
  readonly #keys = new Map<string, TouchedKey>();
  #since: Lsn | undefined;

  clear(): void {
    this.#keys.clear();
    this.#since = undefined;
  }

  begin(lsn: Lsn): void {
    this.clear();
    this.#since = lsn;
  }

  /** What was changed up to here is not told any more. */
  lose(lsn: Lsn): void {
    this.#keys.clear();
    this.#since = lsn;
  }

  add(texts: Texts, key: Int32Array, lsn: Lsn): void {
    const id = idOf(key);
    this.#keys.delete(id);
    this.#keys.set(id, { texts, lsn });
    if (this.#keys.size <= KEYS_MAX) return;
    const [[oldest, { lsn: lost }]] = this.#keys as unknown as [[string, TouchedKey]];
    this.#keys.delete(oldest);
    this.#since = lost;
  }

  textsOf(key: Int32Array): Texts | undefined {
    return this.#keys.get(idOf(key))?.texts;
  }

  /** Source keys changed by commits above this LSN; undefined: not all are known. */
  since(lsn: Lsn): readonly Texts[] | undefined {
    if (this.#since === undefined || lsn < this.#since) return undefined;
    return [...this.#keys.values()].filter((one) => one.lsn > lsn).map(({ texts }) => texts);
  }
}
