/**
 * Sends what was observed to the instance, in batches. Guarantee: nobody waits for it, it takes a bounded amount of memory, and when it cannot be sent
 * the oldest are dropped and counted.
 */
import type { Observation } from '#schemas/flags/observation.ts';
import type { HttpAddress } from './document-source.ts';

const EVERY_MS = 1_000;
const BATCH_MAX = 500;
const KEPT_MAX = 5_000;
const REQUEST_MS = 5_000;

export class Reporter {
  readonly #address: HttpAddress | undefined;
  readonly #onError: (error: unknown) => void;
  #waiting: Observation[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();
  dropped = 0;

  /** Without an address nothing is kept. */
  constructor(address: HttpAddress | undefined, onError: (error: unknown) => void) {
    this.#address = address;
    this.#onError = onError;
  }

  add(observation: Observation): void {
    if (this.#address === undefined) return;
    this.#waiting.push(observation);
    if (this.#waiting.length > KEPT_MAX) {
      this.#waiting.shift();
      this.dropped++;
    }
    this.#timer ??= setTimeout(() => void this.flush(), EVERY_MS).unref();
  }

  /** Resolves when all that was there is sent or given up. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending = this.#sending.then(async () => this.#sendAll());
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH_MAX);
      this.#waiting = this.#waiting.slice(BATCH_MAX);
      try {
        await send(this.#address!, batch);
      } catch (error) {
        this.dropped += batch.length;
        this.#onError(error);
        return;
      }
    }
  }
}

async function send({ url, token }: HttpAddress, observations: readonly Observation[]): Promise<void> {
  const response = await fetch(`${url}/v1/observations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ observations }),
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`crossfade observations: HTTP ${response.status} of ${url}`);
}
