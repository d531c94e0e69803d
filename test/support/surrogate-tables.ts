/**
 * Tables that get new keys: natural text and number keys become numbers and UUIDs, references of every kind go along (to other tables, to
 * the own one, in a key, without a foreign key). Children are written before their parents; keys change, go and come again.
 */
import type { Shape } from './shape-run.ts';

const TABLES = `tables:
  - { from: public.country, to: public.land, key: { surrogate: id } }
  - from: public.customer
    to: public.client
    key: { surrogate: id }
    columns: { customer_no: legacy, country: land }
  - { from: public.invoice, to: public.bill, key: { surrogate: id }, columns: { customer: client }, drop: [no] }
  - { from: public.line, to: public.bill_line, columns: { invoice: bill } }
  - { from: public.login, refs: { who: public.customer } }
heartbeatSeconds: 1
sink: { parallel: 4 }
`;

/** What stands behind `target:`. slow: a copy that lasts for several crashes. */
export function surrogateFile(copy: 'slow' | 'fast'): string {
  return `${TABLES}copy: { chunkRows: 300, parallel: 4${copy === 'slow' ? ', maxRowsPerSecond: 1000' : ''} }\n`;
}

export const SURROGATE_SOURCE = `
CREATE TABLE country (code text PRIMARY KEY, name text NOT NULL);
CREATE TABLE customer (customer_no int PRIMARY KEY, name text, country text REFERENCES country ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
  referred_by int REFERENCES customer ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE invoice (no bigint PRIMARY KEY, customer int REFERENCES customer ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  notes text, cents bigint NOT NULL);
CREATE TABLE line (invoice bigint REFERENCES invoice ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, pos int, label text, PRIMARY KEY (invoice, pos));
CREATE TABLE login (id int PRIMARY KEY, who int);
ALTER TABLE invoice ALTER COLUMN notes SET STORAGE EXTERNAL`;

export const SURROGATE_FILL = `
INSERT INTO country SELECT 'c' || n, 'land ' || n FROM generate_series(1, 50) n;
INSERT INTO customer SELECT n, 'name ' || n, 'c' || (n % 50 + 1), nullif(n * 7 % 2000, 0) FROM generate_series(1, 2000) n;
INSERT INTO invoice SELECT n, n % 2000 + 1, CASE WHEN n % 10 = 0 THEN repeat('n' || n, 1000) END, n FROM generate_series(1, 4000) n;
INSERT INTO line SELECT n, p, 'line ' || n || '/' || p FROM generate_series(1, 4000) n, generate_series(1, 2) p;
INSERT INTO login SELECT n, n % 2100 FROM generate_series(1, 2000) n`;

export const SURROGATE_TARGET = `
CREATE TABLE land (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE NOT NULL, name text NOT NULL);
CREATE TABLE client (id bigserial PRIMARY KEY, legacy int UNIQUE NOT NULL, name text, land int REFERENCES land, referred_by bigint REFERENCES client);
CREATE TABLE bill (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, client bigint REFERENCES client, notes text, cents bigint NOT NULL);
CREATE TABLE bill_line (bill uuid REFERENCES bill, pos int, label text, PRIMARY KEY (bill, pos));
CREATE TABLE login (id int PRIMARY KEY, who bigint)`;

/** Statements of round n, each a transaction. */
export function surrogateChanges(round: number): readonly string[] {
  const n = 10_000 + round * 20;
  const old = (k: number): number => ((round * 37 + k * 101) % 2000) + 1;
  return [
    // The line before its invoice, the invoice before its customer, the customer before its country.
    `INSERT INTO line VALUES (${n}, 1, 'early');
     INSERT INTO invoice VALUES (${n}, ${n}, repeat('t', ${round % 2 === 0 ? 4000 : 3}), ${n});
     INSERT INTO customer VALUES (${n}, 'new', 'x${n}', ${n + 1});
     INSERT INTO customer VALUES (${n + 1}, 'friend', 'x${n}', NULL);
     INSERT INTO country VALUES ('x${n}', 'land ${n}')`,
    `UPDATE invoice SET cents = cents + 1 WHERE no % 10 = 0 AND no BETWEEN ${old(1)} AND ${old(1) + 60}`,
    `INSERT INTO login VALUES (${n}, ${n + 5})`,
    // A key that changes takes what refers to it along; so does the next one, with a large value left alone.
    `UPDATE customer SET customer_no = ${n + 2} WHERE customer_no = ${n + 1}`,
    `UPDATE invoice SET no = ${n + 3} WHERE no = ${n}`,
    `DELETE FROM customer WHERE customer_no = ${old(2)}`,
    `INSERT INTO customer VALUES (${old(2)}, 'again', 'c1', ${n}) ON CONFLICT DO NOTHING`,
    `UPDATE country SET code = 'y' || code WHERE code = 'c${(round % 40) + 2}'`,
    `UPDATE login SET who = ${n} WHERE id = ${old(3)}; UPDATE login SET who = NULL WHERE id = ${old(4)}`,
    ...(round % 7 === 3 ? [`TRUNCATE login`, `INSERT INTO login SELECT n, n + 3 FROM generate_series(1, 300) n`] : []),
  ];
}

/** What stands on both sides, by natural keys. Ids are turned back by the map alone. */
const KEY = (domain: string, id: string): string =>
  `(SELECT source_key FROM crossfade.key_map WHERE domain = 'public.${domain}' AND target_key = (${id})::text)`;

export const SURROGATE_SAME: readonly (readonly [string, string])[] = [
  [`SELECT code, name FROM country ORDER BY code COLLATE "C"`, `SELECT code, name FROM land ORDER BY code COLLATE "C"`],
  [
    `SELECT customer_no, name, country, referred_by FROM customer ORDER BY 1`,
    `SELECT c.legacy AS customer_no, c.name, l.code AS country, r.legacy AS referred_by FROM client c LEFT JOIN land l ON l.id = c.land LEFT JOIN client r ON r.id = c.referred_by ORDER BY 1`,
  ],
  [
    `SELECT no::text, customer, md5(notes) AS notes, cents FROM invoice ORDER BY invoice.no`,
    `SELECT no, customer, notes, cents FROM (SELECT ${KEY('invoice', 'b.id')} AS no, c.legacy AS customer, md5(notes) AS notes, cents FROM bill b LEFT JOIN client c ON c.id = b.client) x ORDER BY no::bigint`,
  ],
  [
    `SELECT invoice::text, pos, label FROM line ORDER BY line.invoice, pos`,
    `SELECT invoice, pos, label FROM (SELECT ${KEY('invoice', 'bill')} AS invoice, pos, label FROM bill_line) x ORDER BY invoice::bigint, pos`,
  ],
  [`SELECT id, who::text FROM login ORDER BY id`, `SELECT id, ${KEY('customer', 'who')} AS who FROM login ORDER BY id`],
];

/** Rows of the target that refer to nothing that is there. */
export const SURROGATE_ORPHANS = `
SELECT 'client' AS place, id::text FROM client c WHERE land IS NOT NULL AND NOT EXISTS (SELECT FROM land l WHERE l.id = c.land)
UNION ALL SELECT 'referral', id::text FROM client c WHERE referred_by IS NOT NULL AND NOT EXISTS (SELECT FROM client l WHERE l.id = c.referred_by)
UNION ALL SELECT 'bill', id::text FROM bill b WHERE client IS NOT NULL AND NOT EXISTS (SELECT FROM client l WHERE l.id = b.client)
UNION ALL SELECT 'line', bill::text FROM bill_line b WHERE NOT EXISTS (SELECT FROM bill l WHERE l.id = b.bill)`;

export const SURROGATE: Shape = {
  name: 'surrogates',
  tables: surrogateFile('fast').replace('heartbeatSeconds: 1\n', ''),
  source: SURROGATE_SOURCE,
  fill: SURROGATE_FILL,
  target: SURROGATE_TARGET,
  changes: surrogateChanges,
  same: SURROGATE_SAME,
};
