/**
 * The shop's application: several connections that write all the time. Guarantee: `stop` resolves when every writer's last transaction
 * is over, and an error of the shop's own database ends the run instead of going unseen.
 */
import pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import type { ShopSize } from '../shop/load.ts';
import { ACTIONS, type Shop } from './actions.ts';
import { SeededRandom } from './random.ts';

export interface ApplicationOptions {
  readonly url: string;
  readonly size: ShopSize;
  readonly seed: number;
  readonly writers: number;
  /** Over all writers together. */
  readonly transactionsPerSecond: number;
}

/** Losing a race to another writer: a real application tries again. */
const RETRYABLE = new Set(['40P01', '40001', '23505', '23503']);

export class Application {
  readonly #options: ApplicationOptions;
  readonly #done = new Map<string, number>();
  readonly #began = Date.now();
  #stopping = false;
  #writers: Promise<void> = Promise.resolve();
  #lastId = 1_000_000;

  private constructor(options: ApplicationOptions) {
    this.#options = options;
  }

  static start(options: ApplicationOptions): Application {
    const application = new Application(options);
    const random = new SeededRandom(options.seed);
    const writers = Array.from({ length: options.writers }, () => application.#write(random.fork()));
    application.#writers = Promise.all(writers).then(() => undefined);
    // Reported by `stop`; until then it must not count as unhandled.
    application.#writers.catch(() => (application.#stopping = true));
    return application;
  }

  get transactions(): number {
    return [...this.#done.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Resolves once stopped; rejects when a writer met an error of the shop's own database. */
  get ended(): Promise<void> {
    return this.#writers;
  }

  get seconds(): number {
    return (Date.now() - this.#began) / 1000;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#writers;
  }

  async #write(random: SeededRandom): Promise<void> {
    const client = new pg.Client({ connectionString: this.#options.url, application_name: 'shop' });
    await client.connect();
    // Local time is what the legacy columns hold.
    await client.query(`set timezone = 'Europe/Berlin'`);
    const shop: Shop = { client, random, size: this.#options.size, nextId: () => ++this.#lastId };
    const pauseMs = (1000 * this.#options.writers) / this.#options.transactionsPerSecond;
    try {
      let due = Date.now();
      while (!this.#stopping) {
        await this.#act(shop);
        due = Math.max(due + pauseMs, Date.now() - 1000);
        const leftMs = due - Date.now();
        if (leftMs > 0) await delay(leftMs);
      }
    } finally {
      await client.end();
    }
  }

  async #act(shop: Shop): Promise<void> {
    const action = weighted(shop.random);
    try {
      await action.run(shop);
      this.#done.set(action.name, (this.#done.get(action.name) ?? 0) + 1);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || !RETRYABLE.has(error.code ?? ''))
        throw new Error(`the shop could not ${action.name}: ${String(error)}`, { cause: error });
    }
  }
}

const TOTAL_WEIGHT = ACTIONS.reduce((sum, action) => sum + action.weight, 0);

function weighted(random: SeededRandom): (typeof ACTIONS)[number] {
  let left = random.next() * TOTAL_WEIGHT;
  for (const action of ACTIONS) {
    left -= action.weight;
    if (left < 0) return action;
  }
  return ACTIONS[0] as (typeof ACTIONS)[number];
}
