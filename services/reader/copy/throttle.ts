/**
 * Limits of the copy's speed: rows and bytes per second, a pause, and the source's load. Guarantee: over any few seconds the rate
 * stays under the limits; changes of them take effect at the next piece.
 */
export interface ThrottleLimits {
  readonly rowsPerSecond?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
}

/** Unused allowance is kept for this long at most. */
const BURST_SECONDS = 0.25;

export class Throttle {
  #limits: ThrottleLimits;
  readonly #now: () => number;
  #rows = 0;
  #bytes = 0;
  #at: number;
  #gate: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  readonly #closedBy = new Set<string>();

  constructor(limits: ThrottleLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
    this.#at = now();
  }

  get limits(): ThrottleLimits {
    return this.#limits;
  }

  get pausedBy(): readonly string[] {
    return [...this.#closedBy];
  }

  setLimits(limits: ThrottleLimits): void {
    this.#limits = limits;
    this.#rows = 0;
    this.#bytes = 0;
    this.#at = this.#now();
  }

  /** Nothing new is read until every reason is gone. */
  close(reason: string): void {
    this.#closedBy.add(reason);
    this.#gate ??= Promise.withResolvers<void>();
  }

  open(reason: string): void {
    this.#closedBy.delete(reason);
    if (this.#closedBy.size > 0) return;
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  /** Resolves while nothing pauses the copy. */
  async passable(signal: AbortSignal): Promise<void> {
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    while (this.#gate && !signal.aborted) await Promise.race([this.#gate.promise, aborted]);
    signal.removeEventListener('abort', onAbort);
  }

  /** Accounts for rows just read. @returns milliseconds to wait before more is read. */
  take(rows: number, bytes: number): number {
    const now = this.#now();
    const seconds = (now - this.#at) / 1000;
    this.#at = now;
    this.#rows = refill(this.#rows, this.#limits.rowsPerSecond, seconds) - rows;
    this.#bytes = refill(this.#bytes, this.#limits.bytesPerSecond, seconds) - bytes;
    return Math.max(debtMs(this.#rows, this.#limits.rowsPerSecond), debtMs(this.#bytes, this.#limits.bytesPerSecond));
  }
}

function refill(allowance: number, limit: number | undefined, seconds: number): number {
  return limit === undefined ? 0 : Math.min(limit * BURST_SECONDS, allowance + limit * seconds);
}

function debtMs(allowance: number, limit: number | undefined): number {
  return limit === undefined || allowance >= 0 ? 0 : Math.ceil((-allowance / limit) * 1000);
}
