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
