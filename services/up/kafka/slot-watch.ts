/**
 * How much WAL the slot holds back, looked at from beside the reader. Guarantee: it goes on while the reader has no stream, so an operator
 * sees the source's disk fill when Kafka is away; while the source does not answer it says nothing rather than something old.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { readSlot, type SlotHealth } from '#connectors/source/postgres/slot.ts';
import { messageOf } from '#schemas/errors.ts';
import { SourceSession } from '#services/reader/source-session.ts';
import type { Logger } from '#services/runtime/service.ts';

const LOOK_EVERY_MS = 2_000;

export class SlotWatch {
  readonly #name: string;
  readonly #session: SourceSession;
  readonly #logger: Logger;
  #health: SlotHealth | undefined;

  constructor({ name, url, logger }: { readonly name: string; readonly url: string; readonly logger: Logger }) {
    this.#name = name;
    this.#logger = logger;
    this.#session = new SourceSession(url, `crossfade ${name} slot watch`);
  }

  /** At the last look; undefined when the source did not answer, or has no such slot. */
  get health(): SlotHealth | undefined {
    return this.#health;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#health = await readSlot(await this.#session.client(), this.#name);
      } catch (error) {
        this.#health = undefined;
        this.#logger.debug({ error: messageOf(error) }, 'the slot could not be looked at');
      }
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
    await this.#session.close();
  }
}
