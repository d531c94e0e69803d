/** Who waits for the log to be read up to somewhere. Guarantee: told true once it was and never before, false as soon as nobody reads any more. */
import type { Offset } from '#connectors/change-log/change-log.ts';

type Wake = (reached: boolean) => void;

export class LogWaiters {
  readonly #offsets = new Map<Wake, Offset>();
  readonly #markers = new Map<string, Wake>();
  #offset: Offset | undefined;

  get isReading(): boolean {
    return this.#offset !== undefined;
  }

  /** Every record below this offset was taken. */
  position(offset: Offset): void {
    this.#offset = offset;
    for (const [wake, wanted] of this.#offsets) if (wanted <= offset) wake(true);
  }

  /** Nobody reads. */
  stop(): void {
    this.#offset = undefined;
    for (const wake of [...this.#offsets.keys(), ...this.#markers.values()]) wake(false);
  }

  sawMarker(id: string): void {
    this.#markers.get(id)?.(true);
  }

  async reached(offset: Offset, waitMs: number): Promise<boolean> {
    if (this.#offset === undefined || this.#offset >= offset) return this.#offset !== undefined;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#offsets.set(resolve, offset);
    return within(promise, waitMs, () => void this.#offsets.delete(resolve));
  }

  /** `write` puts the marker into the source. */
  async marker(id: string, write: () => Promise<void>, waitMs: number): Promise<boolean> {
    if (this.#offset === undefined) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#markers.set(id, resolve);
    const forget = (): void => void this.#markers.delete(id);
    await write().catch((error: unknown) => {
      forget();
      throw error;
    });
    return within(promise, waitMs, forget);
  }
}

async function within(reached: Promise<boolean>, waitMs: number, forget: () => void): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), waitMs);
  try {
    return await Promise.race([reached, late.promise]);
  } finally {
    clearTimeout(timer);
    forget();
  }
}
