/** Tables of every kind that a fault needs, and a small random load. Guarantee: the same seed gives the same statements. */
import type { Random } from '#test/support/random.ts';

const VALUES = `label text, body text, amount numeric, big bigint, flag boolean, at timestamptz, moment timestamp, day date, doc json, meta jsonb,
  tags text[], a text, b text, raw bytea, ratio float8, origin text DEFAULT 'web'`;

export const SOURCE: string = `
CREATE TABLE thing (id bigint PRIMARY KEY, ${VALUES});
ALTER TABLE thing ALTER body SET STORAGE EXTERNAL;
CREATE TABLE lead (id int PRIMARY KEY, tenant int NOT NULL, name text);
ALTER TABLE lead REPLICA IDENTITY FULL;
CREATE TABLE journal (op bigint, note text);
ALTER TABLE journal REPLICA IDENTITY FULL;
CREATE TABLE metric (day int, id int, v int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE metric_early PARTITION OF metric FOR VALUES FROM (0) TO (100);
CREATE TABLE metric_late PARTITION OF metric FOR VALUES FROM (100) TO (200);
CREATE TABLE stock (id int PRIMARY KEY, qty int);
CREATE TABLE stock_old (id int PRIMARY KEY, qty int);
CREATE TABLE visit (id int PRIMARY KEY, n int);
CREATE TABLE item (id int PRIMARY KEY, name text);
CREATE TABLE basket (id int PRIMARY KEY, lines jsonb);
ALTER TABLE basket REPLICA IDENTITY FULL;
CREATE TABLE account (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE profile (account_id int PRIMARY KEY, city text);
CREATE TABLE client (no int PRIMARY KEY, name text);
CREATE TABLE bill (no int PRIMARY KEY, client int REFERENCES client, cents bigint);
CREATE TABLE person (id int PRIMARY KEY, first_name text, last_name text, state char(1) NOT NULL, cents bigint);
ALTER TABLE person REPLICA IDENTITY FULL`;

export const TARGET: string = `
CREATE TABLE thing (id bigint PRIMARY KEY, ${VALUES});
CREATE TABLE lead (id int PRIMARY KEY, tenant int NOT NULL, name text);
CREATE TABLE journal (op bigint, note text);
CREATE TABLE metric (day int, id int, v int, PRIMARY KEY (day, id));
CREATE TABLE stock (id int PRIMARY KEY, qty int);
CREATE TABLE stock_old (id int PRIMARY KEY, qty int);
CREATE TABLE visit (id int PRIMARY KEY, n int);
CREATE TABLE item (id int PRIMARY KEY, name text, deleted_at timestamptz);
CREATE TABLE basket_line (basket_id int, n int, sku text, PRIMARY KEY (basket_id, n));
CREATE TABLE whole (id int PRIMARY KEY, name text, city text, has_profile boolean);
CREATE TABLE client (id bigserial PRIMARY KEY, no int UNIQUE NOT NULL, name text);
CREATE TABLE bill (no int PRIMARY KEY, client bigint REFERENCES client, cents bigint);
CREATE TABLE customer (id int PRIMARY KEY, name text, state text NOT NULL, balance numeric(12,2))`;

/** The file's entries; a fault of the mapping is another word in them. */
export const TABLES: string = `tables:
  - { from: public.thing }
  - { from: public.lead, where: { tenant: 1 } }
  - { from: public.journal }
  - { from: public.metric }
  - { from: public.stock }
  - { from: public.stock_old }
  - { from: public.visit }
  - { from: public.item, deletes: { soft: { at: deleted_at } } }
  - { from: public.basket, to: public.basket_line, columns: { id: basket_id }, explode: { column: lines, fields: { sku: sku }, ordinal: n } }
  - { from: public.account, to: public.whole }
  - { from: public.profile, to: public.whole, columns: { account_id: id }, set: { has_profile: { value: true } } }
  - { from: public.client, key: { surrogate: id } }
  - { from: public.bill }
  - from: public.person
    to: public.customer
    set:
      name: { from: [first_name, last_name], steps: [{ concat: " " }] }
      state: { from: state, steps: [{ map: { values: { A: active, S: suspended }, else: { value: closed } } }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] }
copy: { chunkRows: 100 }
sink: { parallel: 1 }
heartbeatSeconds: 1
`;

/** Columns that a row is known by on the source. */
export const SOURCE_KEYS: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(
    ['thing', 'lead', 'stock', 'stock_old', 'visit', 'item', 'basket', 'account', 'person'].map((table) => [table, ['id']]),
  ),
  metric_early: ['day', 'id'],
  metric_late: ['day', 'id'],
  profile: ['account_id'],
  client: ['no'],
  bill: ['no'],
  journal: ['op', 'note'],
};

export interface Listing {
  readonly table: string;
  /** None: a row is its own key. */
  readonly key: readonly string[];
  readonly sql: string;
}

const keyed = (table: string, ...key: readonly string[]): Listing => ({ table, key, sql: `SELECT * FROM ${table}` });

/** All that stands on the target, without what the target gives itself (keys by their old ones). */
export const LISTINGS: readonly Listing[] = [
  ...['thing', 'lead', 'stock', 'stock_old', 'visit', 'whole', 'customer'].map((table) => keyed(table, 'id')),
  // Softly deleted rows are gone.
  { table: 'item', key: ['id'], sql: 'SELECT id, name FROM item WHERE deleted_at IS NULL' },
  keyed('journal'),
  keyed('metric', 'day', 'id'),
  keyed('basket_line', 'basket_id', 'n'),
  { table: 'client', key: ['no'], sql: 'SELECT no, name FROM client' },
  { table: 'bill', key: ['no'], sql: 'SELECT b.no, c.no AS client, b.cents FROM bill b LEFT JOIN client c ON c.id = b.client' },
];

/** Values that a careless program damages. */
const THING = (
  id: string,
): string => `${id}, ' padded ' || ${id} || ' ', repeat('body' || ${id}, 800), 12345678901234567.1234567890 + ${id},
  9007199254740993 + 2 * ${id}, ${id} % 2 = 0, timestamptz '2026-03-04 05:06:07.123457+00' + ${id} * interval '1 day',
  timestamp '2026-03-04 05:06:07.987651' + ${id} * interval '1 day', date '2024-02-28' + ${id}::int, ('{"b": ' || ${id} || ', "a": 2}')::json,
  jsonb_build_object('x', ${id}, 'y', 'z'), ARRAY['one', NULL, 'a "b"', 'n' || ${id}], NULL, '', '\\x00ff10'::bytea, 1 / (3.1 + ${id})::float8, 'shop'`;

const sequence = (table: string, row: string, count = 60): string =>
  `INSERT INTO ${table} SELECT ${row} FROM generate_series(1, ${count}) g`;

export const FILL: readonly string[] = [
  sequence('thing', THING('g')),
  sequence('lead', `g, 1 + g % 2, 'lead ' || g`),
  sequence('journal', `g, 'note ' || g`, 25),
  sequence('metric', `(g % 4) * 50, g, g`),
  sequence('stock', 'g, g', 250),
  sequence('stock_old', 'g, 7 * g', 250),
  sequence('visit', 'g, g', 30),
  sequence('item', `g, 'item ' || g`, 30),
  sequence('basket', `g, (SELECT jsonb_agg(jsonb_build_object('sku', 's' || g || '-' || i)) FROM generate_series(1, 3) i)`, 25),
  sequence('account', `g, 'name ' || g`, 30),
  sequence('profile', `g + 10, 'city ' || g`, 30),
  sequence('client', `g, 'client ' || g`, 25),
  sequence('bill', 'g, 1 + g % 25, 100 * g', 30),
  sequence('person', `g, 'Ann' || g, 'Lee', substr('ASX', 1 + g % 3, 1), 101 * g`, 30),
];

export const ROUNDS = 8;

/** Each a transaction. Rows above 40 of the first fill are left alone: what the copy does to them stays. */
export function roundOf(n: number, random: Random): readonly string[] {
  const fresh = 1000 + n * 10;
  // Of each round its own rows, so that a fault of one is not mended by the next.
  const own = (i: number): number => 1 + n * 5 + i;
  const some = random.between(1, 1_000_000);
  return [
    `INSERT INTO thing SELECT ${THING('g')} FROM generate_series(${fresh}, ${fresh + 1}) g`,
    `INSERT INTO thing (id, label) VALUES (${fresh + 2}, repeat('long ${some} ', 60)), (${fresh + 3}, 'Zürich ☃ ${some}')`,
    `UPDATE thing SET label = 'first ${some}' WHERE id = ${own(0)}`,
    `UPDATE thing SET label = 'second ${some}', b = 'b${some}' WHERE id = ${own(0)}`,
    `UPDATE thing SET a = 'a${some}' WHERE id IN (${own(1)}, ${own(2)})`,
    `DELETE FROM thing WHERE id = ${own(3)}`,
    `INSERT INTO lead VALUES (${fresh}, 1, 'new'), (${fresh + 1}, 2, 'other')`,
    `UPDATE lead SET tenant = 3 - tenant WHERE id IN (${own(0)}, ${own(1)})`,
    `INSERT INTO journal SELECT ${fresh} + g, 'more ${some}' FROM generate_series(1, 3) g`,
    `DELETE FROM journal WHERE op = ${own(0) % 25}`,
    `INSERT INTO metric VALUES (20, ${fresh}, ${some}), (120, ${fresh}, ${some})`,
    `UPDATE metric SET v = ${some} WHERE id = ${own(2)}`,
    `INSERT INTO stock VALUES (${fresh}, ${some}), (${fresh + 1}, ${some + 1}), (${fresh + 2}, ${some + 2})`,
    `UPDATE stock SET qty = -${own(0)} WHERE id = ${own(0)}`,
    `UPDATE stock SET qty = -${some} WHERE id = ${own(0)}`,
    `UPDATE stock SET id = id + 5000 WHERE id = ${own(1)}`,
    `DELETE FROM stock WHERE id = ${own(2)}`,
    `INSERT INTO stock_old VALUES (${fresh + 5}, 1)`,
    `DELETE FROM stock_old WHERE id = ${fresh + 5}`,
    `DELETE FROM stock_old WHERE id = ${own(3)}`,
    `INSERT INTO stock_old VALUES (${own(3)}, ${some})`,
    ...(n === 4 ? ['TRUNCATE visit'] : []),
    `INSERT INTO visit VALUES (${fresh}, ${some})`,
    `DELETE FROM item WHERE id = ${own(0)}`,
    `INSERT INTO item VALUES (${fresh}, 'new ${some}')`,
    `UPDATE basket SET lines = lines || '[{"sku":"x${some}"}]' WHERE id = ${1 + n * 3}`,
    `UPDATE basket SET lines = lines - 2 WHERE id = ${2 + n * 3}`,
    `UPDATE profile SET city = 'town ${some}' WHERE account_id = ${11 + n}`,
    `INSERT INTO client VALUES (${fresh}, 'new'); INSERT INTO bill VALUES (${fresh}, ${fresh}, ${some})`,
    `UPDATE bill SET client = ${1 + (some % 25)}, cents = ${some} WHERE no = ${1 + n}`,
    `UPDATE person SET cents = ${some}, state = CASE state WHEN 'A' THEN 'S' ELSE 'A' END WHERE id = ${1 + n}`,
    `INSERT INTO person VALUES (${fresh}, 'Eve', 'Moe', 'X', ${some})`,
  ];
}
