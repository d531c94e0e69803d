/**
 * Orders whose lines stand in a jsonb column, changed at random, for sinks that make rows of the lines. Guarantee: the frames are what PostgreSQL's
 * stream would say (an update may leave the lines out, as large values are), one seed gives one history, and `lines` is what it comes to.
 */
import type { ExplodeEntry, TableEntry } from '#schemas/config/migration-file.ts';
import type { Value } from '#test/support/sink-frames.ts';
import type { TableFrames } from '#test/support/sink-harness.ts';

const place = { line: 1, column: 1 };

export const LINES: ExplodeEntry = {
  array: 'items',
  parts: [
    { field: 'sku', to: 'sku', ...place },
    { field: 'qty', to: 'qty', ...place },
  ],
  ordinal: { to: 'place', ...place },
  orphans: 'delete',
  ...place,
};

export const ORDERS = 'CREATE TABLE orders (id int PRIMARY KEY, note text, items jsonb)';

/** `key`: what tells the lines of an order apart. */
export function linesTable(key: 'sku' | 'place'): string {
  return `CREATE TABLE line (order_id int, sku text NOT NULL, qty int, place int NOT NULL, PRIMARY KEY (order_id, ${key}))`;
}

export function ordersEntries(explode: Partial<ExplodeEntry> = {}): Partial<TableEntry>[] {
  const id = { order: { to: 'order_id', drop: false, ...place } };
  return [
    { from: 'old.orders', to: 'new.orders', unmapped: 'ignore' },
    { from: 'old.orders', to: 'new.line', columns: { id: id.order }, unmapped: 'ignore', explode: { ...LINES, ...explode } },
  ];
}

interface Line {
  readonly sku: string;
  readonly qty: number;
}

type Lines = readonly Line[] | null | 'null';

export class RandomOrders {
  readonly #orders = new Map<number, Lines>();
  readonly #random: (below: number) => number;
  readonly #frames: TableFrames;
  readonly #truncates: boolean;

  constructor(frames: TableFrames, random: (below: number) => number, options: { readonly truncates: boolean } = { truncates: true }) {
    this.#frames = frames;
    this.#random = random;
    this.#truncates = options.truncates;
  }

  transaction(): Buffer[] {
    const size = this.#random(8) === 0 ? 60 + this.#random(150) : 1 + this.#random(6);
    return Array.from({ length: size }, () => this.#change());
  }

  /** Rows of the target: order, sku, quantity and place. */
  lines(): string[][] {
    return [...this.#orders].flatMap(([id, lines]) =>
      Array.isArray(lines) ? (lines as Line[]).map(({ sku, qty }, i) => [String(id), sku, String(qty), String(i + 1)]) : [],
    );
  }

  orders(): number[] {
    return [...this.#orders.keys()];
  }

  #items(): Lines {
    const kind = this.#random(10);
    if (kind === 0) return null;
    if (kind === 1) return 'null';
    const skus = ['a', 'b', 'c', 'd', 'e', 'f'].filter(() => this.#random(2) === 0);
    if (this.#random(2) === 0) skus.reverse();
    return skus.map((sku) => ({ sku, qty: this.#random(4) }));
  }

  #change(): Buffer {
    const id = this.#random(40);
    const old = this.#orders.get(id);
    const kind = this.#random(200);
    if (kind === 0 && this.#truncates) {
      this.#orders.clear();
      return this.#frames.truncate();
    }
    if (old === undefined) return this.#frames.insert(...this.#put(id, this.#items()));
    if (kind < 40) {
      this.#orders.delete(id);
      return this.#frames.delete(id, null, null);
    }
    const [, note = null, items] = kind < 120 ? this.#put(id, old) : this.#put(id, this.#items());
    // Left alone, and large.
    const sent = kind < 120 ? undefined : items;
    const moved = this.#random(40);
    if (kind % 3 !== 0 || this.#orders.has(moved)) return this.#frames.update(id, note, sent);
    this.#orders.set(moved, this.#orders.get(id)!);
    this.#orders.delete(id);
    return this.#frames.updateFrom([id, null, null], [moved, note, sent]);
  }

  #put(id: number, lines: Lines): Value[] {
    this.#orders.set(id, lines);
    return [id, `n${this.#random(9)}`, lines === null ? null : lines === 'null' ? 'null' : JSON.stringify(lines)];
  }
}
