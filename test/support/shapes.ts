/** Mappings that change the shape of tables, with the changes to run them under and what they must come to. */
import type { Shape } from './shape-run.ts';

/** 900 people, some of whom come and go, move, and are deactivated. */
export const SPLIT: Shape = {
  name: 'split',
  source: `CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, town text, active boolean NOT NULL, notes text);
    ALTER TABLE person REPLICA IDENTITY FULL`,
  fill: `INSERT INTO person SELECT g, 'name ' || g, 'town ' || g % 50, g % 3 > 0, (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 200) i)
    FROM generate_series(1, 900) g`,
  target: `CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, active boolean NOT NULL);
    CREATE TABLE address (person_id int PRIMARY KEY, town text, notes text, kind text NOT NULL)`,
  tables: `tables:
  - { from: public.person, to: public.customer }
  - from: public.person
    to: public.address
    columns: { id: person_id }
    where: { active: true }
    set: { kind: { value: home } }
`,
  changes: (round) => [
    `UPDATE person SET name = 'n' || ${round}, active = NOT active WHERE id % 97 = ${round % 97}`,
    `UPDATE person SET town = 't' || ${round} WHERE id % 89 = ${round % 89}`,
    `INSERT INTO person VALUES (${10_000 + round}, 'new', 'here', ${round % 2 === 0}, 'x')`,
    `DELETE FROM person WHERE id = ${(round * 7) % 900}`,
    `UPDATE person SET id = id + 100000 WHERE id = ${(round * 11) % 900}`,
  ],
  same: [
    ['SELECT id, name, active::text FROM person ORDER BY id', 'SELECT id, name, active::text FROM customer ORDER BY id'],
    [
      `SELECT id AS person_id, town, md5(notes) AS notes, 'home' AS kind FROM person WHERE active ORDER BY id`,
      'SELECT person_id, town, md5(notes) AS notes, kind FROM address ORDER BY person_id',
    ],
  ],
};

/** Two shards with the same keys, of which one is emptied now and then. */
export const UNION: Shape = {
  name: 'union',
  source: `CREATE SCHEMA eu; CREATE SCHEMA us;
    CREATE TABLE eu.item (id int PRIMARY KEY, name text, notes text); CREATE TABLE us.item (id int PRIMARY KEY, name text, notes text)`,
  fill: `INSERT INTO eu.item SELECT g, 'e' || g, (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 200) i) FROM generate_series(1, 600) g;
    INSERT INTO us.item SELECT g, 'u' || g, 'short' FROM generate_series(1, 600) g`,
  target: 'CREATE TABLE item (shard text, id int, name text, notes text, PRIMARY KEY (shard, id))',
  tables: `tables:
  - { from: eu.item, to: public.item, set: { shard: { value: eu } } }
  - { from: us.item, to: public.item, set: { shard: { value: us } } }
`,
  changes: (round) => [
    `UPDATE eu.item SET name = 'n${round}' WHERE id % 97 = ${round % 97}`,
    `UPDATE us.item SET name = 'n${round}' WHERE id % 61 = ${round % 61}`,
    `UPDATE eu.item SET id = id + 100000 WHERE id = ${(round * 11) % 600}`,
    `DELETE FROM eu.item WHERE id = ${(round * 7) % 600}`,
    round % 9 === 8 ? 'TRUNCATE us.item' : `INSERT INTO us.item VALUES (${10_000 + round}, 'new', 'x'), (${20_000 + round}, 'new', 'y')`,
  ],
  same: [
    [
      `SELECT 'eu' AS shard, id, name, md5(notes) AS notes FROM eu.item UNION ALL SELECT 'us', id, name, md5(notes) FROM us.item ORDER BY 1, 2`,
      'SELECT shard, id, name, md5(notes) AS notes FROM item ORDER BY 1, 2',
    ],
  ],
};

/** Accounts and profiles, each of which may be without the other, become the halves of one row. */
export const MERGE: Shape = {
  name: 'merge',
  source: `CREATE TABLE account (id int PRIMARY KEY, email text NOT NULL, notes text);
    CREATE TABLE profile (account_id int PRIMARY KEY, nick text, town text)`,
  fill: `INSERT INTO account SELECT g, 'a' || g, (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 200) i) FROM generate_series(1, 600) g;
    INSERT INTO profile SELECT g, 'p' || g, 'town' FROM generate_series(200, 800) g`,
  target: `CREATE TABLE person (id int PRIMARY KEY, email text, notes text, nick text, town text DEFAULT 'nowhere', has_profile boolean)`,
  tables: `tables:
  - { from: public.account, to: public.person }
  - from: public.profile
    to: public.person
    columns: { account_id: id }
    set: { has_profile: { value: true } }
`,
  changes: (round) => [
    `UPDATE account SET email = 'e${round}' WHERE id % 97 = ${round % 97}`,
    `UPDATE profile SET nick = 'n${round}' WHERE account_id % 61 = ${round % 61}`,
    `DELETE FROM account WHERE id = ${(round * 7) % 800}`,
    `DELETE FROM profile WHERE account_id = ${(round * 13) % 800}`,
    `UPDATE account SET id = id + 100000 WHERE id = ${(round * 11) % 600}`,
    `INSERT INTO account VALUES (${10_000 + round}, 'new', 'x'); INSERT INTO profile VALUES (${10_000 + (round % 2) * 5000 + round}, 'new', null)`,
  ],
  same: [
    [
      `SELECT coalesce(a.id, p.account_id) AS id, email, md5(notes) AS notes, nick, CASE WHEN p.account_id IS NULL THEN 'nowhere' ELSE town END AS town
        FROM account a FULL JOIN profile p ON p.account_id = a.id ORDER BY 1`,
      'SELECT id, email, md5(notes) AS notes, nick, town FROM person ORDER BY 1',
    ],
  ],
};

/**
 * Orders whose lines stand in one jsonb column, also beyond what is kept in the row (so that an update of the note leaves them out), and whose
 * tags in an array: children with the place, or a field, as key.
 */
export const EXPLODE: Shape = {
  name: 'explode',
  sourceVersion: 14,
  source: `CREATE TABLE orders (id int PRIMARY KEY, note text, items jsonb, tags text[]);
    CREATE FUNCTION items(seed int, n int) RETURNS jsonb LANGUAGE sql AS $$
      SELECT coalesce(jsonb_agg(jsonb_build_object('sku', 's' || i, 'qty', (seed * i) % 17, 'price', jsonb_build_object('net', (seed + i) / 8.0),
        'text', CASE WHEN seed % 3 = 0 THEN (SELECT string_agg(md5(j::text || seed || i), '') FROM generate_series(1, 60) j) END)), '[]')
      FROM generate_series(1, n) i $$`,
  fill: `INSERT INTO orders SELECT g, 'n', CASE WHEN g % 11 = 0 THEN NULL WHEN g % 13 = 0 THEN 'null' ELSE items(g, g % 6) END,
      CASE WHEN g % 7 > 0 THEN (SELECT array_agg('t' || i) FROM generate_series(1, g % 4) i) END FROM generate_series(1, 900) g`,
  target: `CREATE TABLE orders (id int PRIMARY KEY, note text);
    CREATE TABLE order_line (order_id int, sku text, quantity int, net numeric(12,2), text text, place int, PRIMARY KEY (order_id, sku));
    CREATE TABLE order_tag (order_id int, n bigint, tag text, PRIMARY KEY (order_id, n))`,
  tables: `tables:
  - { from: public.orders, to: public.orders }
  - from: public.orders
    to: public.order_line
    columns: { id: order_id }
    explode:
      column: items
      fields: { sku: sku, qty: quantity, /price/net: { to: net, cast: 'numeric(12,2)' }, text: text }
      ordinal: place
  - from: public.orders
    to: public.order_tag
    columns: { id: order_id }
    explode: { column: tags, element: tag, ordinal: n }
`,
  changes: (round) => [
    `UPDATE orders SET note = 'n${round}' WHERE id % 37 = ${round % 37}`,
    `UPDATE orders SET items = items(${round}, ${round % 9}), tags = array_append(tags, 'x${round}') WHERE id % 89 = ${round % 89}`,
    `UPDATE orders SET items = items - 0 WHERE id % 53 = ${round % 53} AND jsonb_typeof(items) = 'array'`,
    `UPDATE orders SET id = id + 100000 WHERE id = ${(round * 11) % 900}`,
    `INSERT INTO orders VALUES (${10_000 + round}, 'new', items(${round}, 4), ARRAY['a', 'b']) ON CONFLICT DO NOTHING`,
    `DELETE FROM orders WHERE id = ${(round * 7) % 900}`,
  ],
  same: [
    [
      `SELECT o.id AS order_id, i ->> 'sku' AS sku, (i ->> 'qty')::int AS quantity, round((i #>> '{price,net}')::numeric, 2)::text AS net, md5(i ->> 'text') AS text, n::int AS place
        FROM orders o, jsonb_array_elements(CASE WHEN items <> 'null' THEN items END) WITH ORDINALITY AS x(i, n) ORDER BY 1, 6`,
      'SELECT order_id, sku, quantity, net::text, md5(text) AS text, place FROM order_line ORDER BY 1, 6',
    ],
    [
      'SELECT o.id AS order_id, n::text, tag FROM orders o, unnest(tags) WITH ORDINALITY AS x(tag, n) ORDER BY 1, x.n',
      'SELECT order_id, n::text, tag FROM order_tag ORDER BY 1, order_tag.n',
    ],
  ],
};
