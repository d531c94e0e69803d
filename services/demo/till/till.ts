/**
 * The shop's new release: knows both stores, and asks `crossfade/client` where to read and write. Guarantee: in its journal stands every write whose
 * COMMIT was answered, with its value, and none other; any error but a fence's refusal, of a write or a read, ends it and is thrown by `stop`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { CrossfadeClient, Side } from '#services/client/client.ts';
import { SeededRandom } from '../application/random.ts';
import type { ShopSize } from '../shop/load.ts';
import { Store } from './acts.ts';

export interface TillOptions {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly client: CrossfadeClient;
  readonly seed: number;
  readonly size: ShopSize;
  readonly writers: number;
  /** Over all writers together. */
  readonly writesPerSecond: number;
}

/** Since the last look, by who answered. */
export interface TillWindow {
  readonly writes: Readonly<Record<Side, number>>;
  readonly reads: Readonly<Record<Side, number>>;
  /** From a write's first try to its answer. */
  readonly longestMs: number;
}

export interface Kept {
  /** Promised, and not there as promised. */
  readonly lost: number;
  /** There, and never promised. */
  readonly unpromised: number;
}

type Stores = Readonly<Record<Side, Store>>;

const READS_PER_SECOND = 150;
/** Of ten writes; the others correct a payment that the same writer took. */
const SALES_OF_TEN = 6;
/** Far from any change of the clocks: the old shop keeps local time. */
const PLACED_FROM = Date.UTC(2026, 5, 1);
const PATIENCE_MS = 60_000;
const LOOK_EVERY_MS = 20;

export class Till {
  readonly #options: TillOptions;
  readonly #sold = new Map<number, number>();
  readonly #paid = new Map<number, number>();
  #window = emptyWindow();
  readonly #writes: Record<Side, number> = { source: 0, target: 0 };
  #lastRef = 0;
  #stopping = false;
  #loops: Promise<void> = Promise.resolve();

  private constructor(options: TillOptions) {
    this.#options = options;
  }

  static start(options: TillOptions): Till {
    const till = new Till(options);
    const random = new SeededRandom(options.seed);
    const writers = Array.from({ length: options.writers }, () =>
      till.#loop(options.writesPerSecond / options.writers, till.#writer(random.fork())),
    );
    till.#loops = Promise.all([...writers, till.#loop(READS_PER_SECOND, till.#reader(random.fork()))]).then(() => undefined);
    // Thrown again by `stop` and `seen`; until then it must not count as unhandled.
    till.#loops.catch(() => (till.#stopping = true));
    return till;
  }

  /** Acknowledged, all in all: sales and corrections, by who answered. */
  get writes(): Readonly<Record<Side, number>> {
    return this.#writes;
  }

  /** What happened since the last call. */
  take(): TillWindow {
    const window = this.#window;
    this.#window = emptyWindow();
    return window;
  }

  /** Waits until the application itself has seen it. @throws what ended it */
  async seen(condition: (window: TillWindow) => boolean, what: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!condition(this.#window)) {
      if (this.#stopping) await this.#loops;
      if (performance.now() > deadline) throw new Error(`the till waited ${PATIENCE_MS / 1000} s in vain for ${what}`);
      await delay(LOOK_EVERY_MS);
    }
  }

  /** Resolves when everything is answered. @throws what ended it */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loops;
  }

  /** Every promise looked up. To be asked of a till that has stopped. */
  async kept(side: Side): Promise<Kept> {
    await using store = await Store.open(side, this.#urls[side]);
    return add(hold(this.#sold, await store.sold()), hold(this.#paid, await store.paid()));
  }

  get #urls(): Readonly<Record<Side, string>> {
    return { source: this.#options.sourceUrl, target: this.#options.targetUrl };
  }

  async #loop(perSecond: number, act: (stores: Stores) => Promise<void>): Promise<void> {
    await using source = await Store.open('source', this.#urls.source);
    await using target = await Store.open('target', this.#urls.target);
    const everyMs = 1000 / perSecond;
    for (let due = performance.now(); !this.#stopping;) {
      await act({ source, target });
      // What was missed while a write waited is not made up for: customers do not either.
      due = Math.max(due + everyMs, performance.now() - everyMs);
      await delay(Math.max(0, due - performance.now()));
    }
  }

  #writer(random: SeededRandom): (stores: Stores) => Promise<void> {
    const mine: number[] = [];
    return async (stores) => {
      const cents = random.between(100, 5_000_000);
      if (mine.length > 0 && random.between(1, 10) > SALES_OF_TEN) {
        const ref = random.pick(mine);
        await this.#write(ref, async (side) => stores[side].correct(ref, cents));
        this.#paid.set(ref, cents);
        return;
      }
      const customer = random.between(1, this.#options.size.customers);
      const ref = ++this.#lastRef;
      const sale = {
        ref,
        customer,
        placed: new Date(PLACED_FROM + ref * 1000).toISOString(),
        cents,
        category: `cat-${random.between(1, 8)}`,
      };
      await this.#write(customer, async (side) => stores[side].sell(sale));
      mine.push(ref);
      this.#sold.set(ref, cents);
      this.#paid.set(ref, cents);
    };
  }

  async #write(unit: number, run: (side: Side) => Promise<void>): Promise<void> {
    const began = performance.now();
    const on = async (side: Side): Promise<Side> => {
      await run(side);
      return side;
    };
    const side = await this.#options.client.write({
      unit: `customer-${unit}`,
      source: async () => on('source'),
      target: async () => on('target'),
    });
    this.#writes[side]++;
    const { writes, longestMs } = this.#window;
    writes[side]++;
    this.#window.longestMs = Math.max(longestMs, performance.now() - began);
  }

  #reader(random: SeededRandom): (stores: Stores) => Promise<void> {
    return async (stores) => {
      const order = random.between(1, this.#options.size.orders);
      const from = async (side: Side): Promise<void> => {
        await stores[side].show(order);
        this.#window.reads[side]++;
      };
      const unit = `customer-${random.between(1, this.#options.size.customers)}`;
      await this.#options.client.read({ unit, source: async () => from('source'), target: async () => from('target') });
    };
  }
}

function emptyWindow(): { readonly writes: Record<Side, number>; readonly reads: Record<Side, number>; longestMs: number } {
  return { writes: { source: 0, target: 0 }, reads: { source: 0, target: 0 }, longestMs: 0 };
}

function hold(promised: ReadonlyMap<number, number>, found: ReadonlyMap<number, number | undefined>): Kept {
  const lost = [...promised].filter(([ref, cents]) => found.get(ref) !== cents).length;
  const unpromised = [...found.keys()].filter((ref) => !promised.has(ref)).length;
  return { lost, unpromised };
}

function add(one: Kept, other: Kept): Kept {
  return { lost: one.lost + other.lost, unpromised: one.unpromised + other.unpromised };
}
