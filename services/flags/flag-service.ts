/**
 * The flags as this process knows them. Guarantee: never older than what was known before, whatever arrives late; a flip or a changed rule in the
 * state row is known here within a poll, whoever made it; while the target is away the last known document is served and called stale, also after a
 * restart.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ChangedBy, FlagStore } from '#connectors/flags/flags.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { compareAge, type FlagDocument } from '#schemas/flags/flag-document.ts';
import type { RulesChange } from '#schemas/flags/read-rules.ts';
import type { Logger } from '#services/runtime/service.ts';

const POLL_MS = 200;
const STALE_MS = 3_000;

/** What whoever serves or follows flags needs to know of them. A flip needs nothing of it: it changes the state row. */
export interface FlagService {
  /** Undefined: nothing was ever known of them here. */
  readonly document: FlagDocument | undefined;
  /** Of a migration in waves, the one that `change` is of. */
  readonly wave?: string | undefined;
  /** It was not confirmed for some seconds. */
  readonly isStale: boolean;
  /** Looks at once. Rejects while the store is away. */
  refresh(): Promise<void>;
  change(change: RulesChange, by: ChangedBy, ifVersion?: number): Promise<FlagDocument>;
  /** @returns what ends it */
  onChange(listener: (document: FlagDocument) => void): () => void;
}

export interface FlagServiceOptions {
  readonly store: FlagStore;
  readonly logger: Logger;
  /** Of a former start. */
  readonly kept?: FlagDocument | undefined;
  readonly wave?: string | undefined;
}

export class PolledFlags implements FlagService {
  readonly #options: FlagServiceOptions;
  readonly #listeners = new Set<(document: FlagDocument) => void>();
  #document: FlagDocument | undefined;
  #confirmedMs = -Infinity;
  #isAway = false;

  constructor(options: FlagServiceOptions) {
    this.#options = options;
    this.#document = options.kept;
  }

  get document(): FlagDocument | undefined {
    return this.#document;
  }

  get wave(): string | undefined {
    return this.#options.wave;
  }

  get isStale(): boolean {
    return performance.now() - this.#confirmedMs > STALE_MS;
  }

  async refresh(): Promise<void> {
    this.#take(await this.#options.store.read());
  }

  async change(change: RulesChange, by: ChangedBy, ifVersion?: number): Promise<FlagDocument> {
    const document = await this.#options.store.change(change, by, ifVersion);
    this.#take(document);
    return document;
  }

  onChange(listener: (document: FlagDocument) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Until the signal. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.refresh();
        if (this.#isAway) this.#options.logger.info({}, 'The flags are read from the target again');
        this.#isAway = false;
      } catch (error) {
        if (!this.#isAway && !signal.aborted)
          this.#options.logger.warn({ error: messageOf(error) }, 'The flags cannot be read from the target; the last known ones hold');
        this.#isAway = true;
      }
      await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #take(document: FlagDocument): void {
    this.#confirmedMs = performance.now();
    const before = this.#document;
    if (before !== undefined && compareAge(document, before) <= 0) return;
    this.#document = document;
    for (const listener of this.#listeners) listener(document);
  }
}

/** Of a migration whose target keeps no state: everything is at the source, for good. */
export function fixedFlags(name: string): FlagService {
  return {
    document: { name, epoch: 0, state: 0, serves: 'source' },
    isStale: false,
    refresh: async () => undefined,
    change: async () => {
      throw new PipelineError('CF-8402', 'flags need one PostgreSQL target, which keeps them');
    },
    onChange: () => () => undefined,
  };
}
