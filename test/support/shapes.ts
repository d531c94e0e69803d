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
