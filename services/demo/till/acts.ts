/**
 * What the new release of the shop does, for either store: one whole transaction each. Guarantee: what a write promises can be asked of both stores
 * afterwards, value by value.
 */
import pg from 'pg';
import type { Side } from '#services/client/client.ts';

export interface Sale {
  /** Unique over the till's life; found again by it. */
  readonly ref: number;
  readonly customer: number;
  readonly placed: string;
  readonly cents: number;
  readonly category: string;
}

interface Statements {
  /** $1 customer, $2 moment, $3 cents, $4 remark; gives the id. */
  readonly order: string;
  /** $1 order, $2 category, $3 price. */
  readonly lines: string;
  /** $1 payment, $2 order, $3 amount. */
  readonly pay: string;
  /** $1 amount, $2 payment. */
  readonly correct: string;
  /** $1 order. */
  readonly show: string;
  readonly sales: string;
  readonly payments: string;
}

/** Ids of payments, and what tells the till's orders from others. */
const PAYMENTS_FROM = 10_000_000;
const PAID_ON = '2026-06-01';

const LEGACY: Statements = {
  order: `insert into tbl_ord (cust_id, placed, total, remark) values ($1, $2::timestamptz at time zone 'Europe/Berlin', $3::bigint / 100.0, $4) returning ord_id as id`,
  lines: 'insert into tbl_ord_pos (ord_id, pos, cat_code, qty, price) values ($1, 1, $2, 1, $3), ($1, 2, $2, 2, 0)',
  pay: `insert into tbl_payment (pay_id, paid_on, ord_id, amount) values ($1, '${PAID_ON}', $2, $3)`,
  correct: `update tbl_payment set amount = $1 where pay_id = $2 and paid_on = '${PAID_ON}'`,
  show: 'select total from tbl_ord where ord_id = $1',
  sales: `select substr(o.remark, 6) as ref, (o.total * 100)::bigint as cents, count(l.*) as lines from tbl_ord o
    left join tbl_ord_pos l on l.ord_id = o.ord_id where o.remark like 'till %' group by o.ord_id`,
  payments: `select pay_id as id, amount * 100 as cents from tbl_payment where pay_id >= ${PAYMENTS_FROM}`,
};

const NEW: Statements = {
  order: `insert into app.orders (customer_id, status, placed_at, total_cents, remark) values ($1, 'open', $2, $3, $4) returning id`,
  lines: 'insert into app.order_lines (order_id, line, category, quantity, price) values ($1, 1, $2, 1, $3), ($1, 2, $2, 2, 0)',
  pay: `insert into app.payments (id, paid_on, order_id, amount) values ($1, '${PAID_ON}', $2, $3)`,
  correct: `update app.payments set amount = $1 where id = $2 and paid_on = '${PAID_ON}'`,
  show: 'select total_cents from app.orders where id = $1',
  sales: `select substr(o.remark, 6) as ref, o.total_cents as cents, count(l.*) as lines from app.orders o
    left join app.order_lines l on l.order_id = o.id where o.remark like 'till %' group by o.id`,
  payments: `select id, amount * 100 as cents from app.payments where id >= ${PAYMENTS_FROM}`,
};

const LINES = 2;
const DEADLOCK = '40P01';

/** One session of the application's, with one of the two. */
export class Store implements AsyncDisposable {
  readonly #client: pg.Client;
  readonly #say: Statements;

  private constructor(client: pg.Client, statements: Statements) {
    this.#client = client;
    this.#say = statements;
  }

  static async open(side: Side, url: string): Promise<Store> {
    const client = new pg.Client({ connectionString: url, application_name: 'shop' });
    // A server that goes away fails the next query, which says so.
    client.on('error', () => undefined);
    await client.connect();
    return new Store(client, side === 'source' ? LEGACY : NEW);
  }

  async sell({ ref, customer, placed, cents, category }: Sale): Promise<void> {
    await this.#inTransaction(async () => {
      const { rows } = await this.#client.query<{ id: unknown }>(this.#say.order, [customer, placed, cents, `till ${ref}`]);
      const order = rows[0]!.id;
      await this.#client.query(this.#say.lines, [order, category, cents / 100]);
      await this.#client.query(this.#say.pay, [PAYMENTS_FROM + ref, order, cents / 100]);
    });
  }

  async correct(ref: number, cents: number): Promise<void> {
    await this.#inTransaction(async () => {
      const { rowCount } = await this.#client.query(this.#say.correct, [cents / 100, PAYMENTS_FROM + ref]);
      if (rowCount !== 1) throw new Error(`payment ${ref} was acknowledged, and the store that takes writes does not have it`);
    });
  }

  async show(order: number): Promise<void> {
    await this.#client.query(this.#say.show, [order]);
  }

  /** In cents by reference; undefined in place of a sale that is not whole, or that is there twice. */
  async sold(): Promise<ReadonlyMap<number, number | undefined>> {
    const { rows } = await this.#client.query<{ ref: string; cents: string; lines: string }>(this.#say.sales);
    const found = new Map<number, number | undefined>();
    for (const { ref, cents, lines } of rows) {
      const isWhole = Number(lines) === LINES && !found.has(Number(ref));
      found.set(Number(ref), isWhole ? Number(cents) : undefined);
    }
    return found;
  }

  async paid(): Promise<ReadonlyMap<number, number | undefined>> {
    const { rows } = await this.#client.query<{ id: string; cents: string }>(this.#say.payments);
    return new Map(rows.map(({ id, cents }) => [Number(id) - PAYMENTS_FROM, Number(cents)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end();
  }

  /** Again after a deadlock, of which the server says that it kept nothing: a fence that is being raised may be the other party. */
  async #inTransaction(work: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.#client.query('begin');
      try {
        await work();
        await this.#client.query('commit');
        return;
      } catch (error) {
        await this.#client.query('rollback').catch(() => undefined); // the first error is the one to tell
        if (!(error instanceof pg.DatabaseError) || error.code !== DEADLOCK) throw error;
      }
    }
  }
}
