/**
 * Which instance holds the target: a key that expires. Guarantee: only who tries is decided here, who may write is the epoch's (scripts.ts):
 * a holder that was stopped for longer than the lock lasts finds its epoch stale.
 */
import type { RedisClient } from './connection.ts';
import { KEEP_LOCK, TAKE_LOCK } from './scripts.ts';

const LOCK_MS = 10_000;
const RENEW_EVERY_MS = 3_000;

export class HeldLock implements AsyncDisposable {
  readonly #client: RedisClient;
  readonly #key: string;
  readonly #holder: string;
  readonly #renewing: NodeJS.Timeout;

  private constructor(client: RedisClient, key: string, holder: string) {
    this.#client = client;
    this.#key = key;
    this.#holder = holder;
    this.#renewing = setInterval(() => void this.#keep(LOCK_MS).catch(() => undefined), RENEW_EVERY_MS);
    this.#renewing.unref();
  }

  /** Undefined while another instance holds it. */
  static async take(
    client: RedisClient,
    key: string,
    { holder, instance }: { readonly holder: string; readonly instance: string },
  ): Promise<HeldLock | undefined> {
    const taken = await client.eval(TAKE_LOCK, 1, key, holder, instance, String(LOCK_MS));
    return taken === 1 ? new HeldLock(client, key, holder) : undefined;
  }

  async #keep(ms: number): Promise<void> {
    await this.#client.eval(KEEP_LOCK, 1, this.#key, this.#holder, String(ms));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewing);
    await this.#keep(0).catch(() => undefined);
  }
}
