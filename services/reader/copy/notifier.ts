/** Wakes waiters. Guarantee: a notify after `wait` was called is never missed by it. */
export class Notifier {
  #next = Promise.withResolvers<void>();

  notify(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  /** Resolves at the next notify, or when the signal fires. */
  async wait(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([this.#next.promise, promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
