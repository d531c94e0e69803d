/**
 * What the legacy shop's application does, one function per transaction. Guarantee: every choice comes from the random source given,
 * and no action can violate the shop's own constraints (a deadlock or a lost race is the caller's to repeat).
 */
import type pg from 'pg';
import { AWKWARD_TEXTS, type ShopSize } from '../shop/load.ts';
import type { SeededRandom } from './random.ts';

export interface Shop {
  readonly client: pg.Client;
  readonly random: SeededRandom;
  readonly size: ShopSize;
  /** Unique over all writers: ids that the database does not give. */
  nextId(): number;
}

export type Action = (shop: Shop) => Promise<void>;

/** Weight: how often, relative to the others. */
export const ACTIONS: readonly { readonly name: string; readonly weight: number; readonly run: Action }[] = [
  { name: 'transfer', weight: 26, run: transfer },
  { name: 'place order', weight: 16, run: placeOrder },
  { name: 'order moves on', weight: 14, run: moveOrder },
  { name: 'pay', weight: 10, run: pay },
  { name: 'open document', weight: 8, run: openDocument },
  { name: 'log event', weight: 8, run: logEvent },
  { name: 'edit customer', weight: 6, run: editCustomer },
  { name: 'start session', weight: 5, run: startSession },
  { name: 'collect points', weight: 4, run: collectPoints },
  { name: 'change of heart', weight: 3, run: changeOfHeart },
  { name: 'remove order', weight: 3, run: removeOrder },
  { name: 'partly undone', weight: 2, run: partlyUndone },
  { name: 'new rate', weight: 2, run: newRate },
  { name: 'soft delete', weight: 2, run: softDelete },
  { name: 'renumber note', weight: 2, run: renumberNote },
  { name: 'payment moves to another year', weight: 1, run: movePayment },
  { name: 'leave the bonus program', weight: 1, run: leaveBonus },
  { name: 'drop events', weight: 1, run: dropEvents },
  { name: 'rewrite document', weight: 1, run: rewriteDocument },
  { name: 'rename category', weight: 1, run: renameCategory },
];

/** Runs `work` in a transaction and undoes it when it throws. */
async function inTransaction(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query('begin');
  try {
    await work();
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

function customer({ random, size }: Shop): number {
  return random.between(1, size.customers);
}

/** Money moves between two tables; the sum over both never changes. */
async function transfer(shop: Shop): Promise<void> {
  const { client, random } = shop;
  const amount = random.between(1, 500_000) / 10_000;
  const [from, to] = [customer(shop), customer(shop)];
  await inTransaction(client, async () => {
    await client.query('update tbl_giro set balance = balance - $1 where acct_id = $2', [amount, from]);
    await client.query('update tbl_savings set balance = balance + $1 where acct_id = $2', [amount, to]);
  });
}

async function placeOrder(shop: Shop): Promise<void> {
  const { client, random } = shop;
  const who = customer(shop);
  const lines = random.between(1, 4);
  const placed = new Date(Date.UTC(2026, random.between(0, 11), random.between(1, 28), random.between(0, 23), random.between(0, 59)));
  const remark = random.next() < 0.5 ? random.pick(AWKWARD_TEXTS) : null;
  const prices = Array.from({ length: lines }, () => random.between(0, 5_000_000) / 10_000);
  const category = random.between(1, 8);
  await inTransaction(client, async () => {
    const { rows } = await client.query<{ ord_id: number }>(
      'insert into tbl_ord (cust_id, placed, remark) values ($1, $2, $3) returning ord_id',
      [who, placed.toISOString().slice(0, 19), remark],
    );
    const order = rows[0]?.ord_id;
    for (const [at, price] of prices.entries()) {
      await client.query('insert into tbl_ord_pos (ord_id, pos, cat_code, qty, price) values ($1, $2, $3, $4, $5)', [
        order,
        at + 1,
        `cat-${category}`,
        at + 1,
        price,
      ]);
    }
    await client.query(
      'update tbl_ord set total = (select round(sum(qty * price), 2) from tbl_ord_pos where ord_id = $1) where ord_id = $1',
      [order],
    );
  });
}

async function anyOrder({ client, random }: Shop): Promise<number | undefined> {
  const { rows } = await client.query<{ ord_id: number }>(
    'select ord_id from tbl_ord where ord_id >= (select floor($1::float8 * max(ord_id)) from tbl_ord) order by ord_id limit 1',
    [random.next()],
  );
  return rows[0]?.ord_id;
}

async function moveOrder(shop: Shop): Promise<void> {
  const state = shop.random.pick(['paid', 'sent', 'cancelled', 'returned']);
  const order = await anyOrder(shop);
  await shop.client.query('update tbl_ord set state = $1 where ord_id = $2', [state, order]);
}

async function pay(shop: Shop): Promise<void> {
  const { client, random } = shop;
  const day = `202${random.between(3, 6)}-0${random.between(1, 9)}-1${random.between(0, 9)}`;
  const order = await anyOrder(shop);
  await inTransaction(client, async () => {
    await client.query('insert into tbl_payment values ($1, $2, $3, $4)', [
      shop.nextId(),
      day,
      order ?? 0,
      random.between(1, 9_000_000) / 10_000,
    ]);
    await client.query(`update tbl_ord set state = 'paid' where ord_id = $1`, [order]);
  });
}

/** Touches a row whose long text stays as it is: the stream carries the row without it. */
async function openDocument({ client, random, size }: Shop): Promise<void> {
  await client.query('update tbl_doc set hits = hits + 1 where doc_id = $1', [random.between(1, size.documents)]);
}

async function rewriteDocument({ client, random, size }: Shop): Promise<void> {
  const length = random.between(255, 400);
  await client.query(
    `update tbl_doc set body = (select string_agg(md5(g::text || $1::text), ' ') from generate_series(1, $2::int) g) where doc_id = $3`,
    [random.between(1, 1e9), length, random.between(1, size.documents)],
  );
}

async function logEvent({ client, random }: Shop): Promise<void> {
  const times = random.next() < 0.2 ? 2 : 1;
  const value = random.pick(['NaN', 'Infinity', '-0', '0.30000000000000004', '1e-300']);
  const message = random.pick(AWKWARD_TEXTS);
  await client.query(
    `insert into tbl_event select clock_timestamp(), '192.168.0.1', '00:00:01.5', $1::float8, 0.1, $2 from generate_series(1, $3::int)`,
    [value, message, times],
  );
}

/** One of several rows that are equal in full: exactly that many may go on the target. */
async function dropEvents({ client, random }: Shop): Promise<void> {
  await client.query('delete from tbl_event where ctid in (select ctid from tbl_event where at >= $1::timestamptz order by at limit 2)', [
    new Date(Date.UTC(2025, 5, 1) + random.between(0, 6_000) * 1000).toISOString(),
  ]);
}

async function editCustomer(shop: Shop): Promise<void> {
  const { client, random } = shop;
  const who = customer(shop);
  const name = `${random.pick(AWKWARD_TEXTS)} née ${who}`.slice(0, 80);
  const prefs = JSON.stringify({ edited: random.between(1, 1e6), nested: { text: random.pick(AWKWARD_TEXTS) } });
  await client.query('update tbl_cust set full_name = $1, prefs = $2, tags = $3, last_seen = localtimestamp where cust_id = $4', [
    name,
    prefs,
    [random.pick(AWKWARD_TEXTS), 'edited'],
    who,
  ]);
}

async function softDelete(shop: Shop): Promise<void> {
  await shop.client.query('update tbl_cust set deleted = localtimestamp, credit = 0 where cust_id = $1 and deleted is null', [
    customer(shop),
  ]);
}

async function collectPoints(shop: Shop): Promise<void> {
  await shop.client.query(
    `insert into tbl_bonus values ($1, $2, current_date) on conflict (cust_id) do update set points = tbl_bonus.points + excluded.points`,
    [customer(shop), shop.random.between(1, 50)],
  );
}

async function leaveBonus(shop: Shop): Promise<void> {
  await shop.client.query('delete from tbl_bonus where cust_id = $1', [customer(shop)]);
}

async function removeOrder(shop: Shop): Promise<void> {
  const order = await anyOrder(shop);
  await shop.client.query('delete from tbl_ord where ord_id = $1', [order]);
}

async function startSession(shop: Shop): Promise<void> {
  const { client, random } = shop;
  const id = shop.nextId();
  if (random.next() < 0.03) await client.query('truncate tbl_session');
  await client.query(`insert into tbl_session values (md5($1::text)::uuid, $2, hstore('lang', $3))`, [
    id,
    customer(shop),
    random.pick(['de', 'fr', null]),
  ]);
}

/** A transaction that the shop thinks better of: nothing of it may ever be seen. */
async function changeOfHeart(shop: Shop): Promise<void> {
  const { client } = shop;
  await client.query('begin');
  await client.query(`update tbl_giro set balance = balance + 1000000 where acct_id = $1`, [customer(shop)]);
  await client.query('rollback');
}

/** A subtransaction is undone, the rest stays. */
async function partlyUndone(shop: Shop): Promise<void> {
  const { client, random } = shop;
  const who = customer(shop);
  await inTransaction(client, async () => {
    await client.query('update tbl_cust set credit = credit + $1 where cust_id = $2', [random.between(1, 100), who]);
    await client.query('savepoint maybe');
    await client.query('delete from tbl_savings where acct_id = $1', [who]);
    await client.query('rollback to savepoint maybe');
    await client.query('update tbl_cust set last_seen = localtimestamp where cust_id = $1', [who]);
  });
}

async function newRate({ client, random }: Shop): Promise<void> {
  const [currency, day] = [random.pick(['EUR', 'USD', 'CHF']), random.between(0, 3650)];
  await client.query(
    `insert into tbl_rate values ($1, timestamptz '2024-01-01 00:00:00+00' + $2 * interval '1 day', daterange(date '2024-01-01' + $2::int, null), $3, B'101')
     on conflict (currency, valid_from) do update set rate = excluded.rate, valid = excluded.valid`,
    [currency, day, `${random.between(0, 1e9)}.${random.between(0, 1e9)}`],
  );
}

/** The key itself changes. */
async function renumberNote(shop: Shop): Promise<void> {
  const note = shop.random.between(1, 100);
  await shop.client.query(
    'update "Notes & ""Queries""" set "select" = $1 where "select" = (select max("select") from "Notes & ""Queries""" where "select" % 100 = $2)',
    [shop.nextId() * 100 + (note % 100), note % 100],
  );
}

/** A text key changes, and with it every row that refers to it. */
async function renameCategory(shop: Shop): Promise<void> {
  const { client, random, size } = shop;
  const which = random.between(9, size.categories);
  await client.query(`update tbl_cat set code = $1 where code = (select code from tbl_cat where label = $2)`, [
    `cat-${which}-${shop.nextId()}`,
    `Category ${which}`,
  ]);
}

/** A row crosses from one partition to another: a delete in one leaf, an insert in the other. */
async function movePayment({ client, random }: Shop): Promise<void> {
  await client.query(`update tbl_payment set paid_on = paid_on + 366 where pay_id = $1`, [random.between(1, 1_000)]);
}
