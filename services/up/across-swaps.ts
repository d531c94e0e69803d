/**
 * An instance over rename swaps. Guarantee: what runs goes by the names that its tables have; when a swap gives them others, all of it ends and
 * begins anew within the same call, from where log and target stand. What went by the old names in between cannot commit: the swap has raised its epoch.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { readRenames } from '#connectors/postgres/renames.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { RunUpOptions, UpResult } from '#services/cli/up-port.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { Renames } from '#schemas/mapping/compiled-mapping.ts';
import { sameRenames } from '#schemas/mapping/renames.ts';

const LOOK_EVERY_MS = 100;

/** @throws PipelineError what ended an instance whose names are still the tables' */
export async function runAcrossSwaps(options: RunUpOptions, run: (options: RunUpOptions) => Promise<UpResult>): Promise<UpResult> {
  await using names = new NameWatch(options);
  let last: UpResult | undefined;
  for (;;) {
    const begun = await names.read();
    const swapped = new AbortController();
    const over = new AbortController();
    const signal = AbortSignal.any([options.signal, swapped.signal]);
    const watching = names.untilOther(begun, AbortSignal.any([signal, over.signal])).then((isOther) => isOther && swapped.abort());
    try {
      last = await run({ ...options, signal });
      if (!swapped.signal.aborted || options.signal.aborted) return last;
    } catch (error) {
      // Stopped while it was beginning anew: that is an end like any other.
      if (options.signal.aborted && last !== undefined && error instanceof PipelineError && error.code === 'CF-7002') return last;
      if (options.signal.aborted || (!swapped.signal.aborted && sameRenames(begun, await names.read().catch(() => begun)))) throw error;
    } finally {
      over.abort();
      await watching;
    }
    options.logger.info({}, 'The names of the tables were swapped; everything begins anew with them');
  }
}

class NameWatch implements AsyncDisposable {
  readonly #options: RunUpOptions;
  #client: pg.Client | undefined;

  constructor(options: RunUpOptions) {
    this.#options = options;
  }

  async read(): Promise<Renames> {
    const { name, target } = this.#options.file;
    try {
      this.#client ??= await connect(target.postgres!, { applicationName: 'crossfade names', role: 'target' });
      return await readRenames(this.#client, name);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @returns false when the signal came first */
  async untilOther(begun: Renames, signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      // A server that does not answer is the pipelines' trouble.
      const now = await this.read().catch(() => begun);
      if (!sameRenames(begun, now)) return true;
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }
}
