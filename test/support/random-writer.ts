/**
 * An application that writes awkward tables at random. Guarantee: what it does follows from its seed; it never gives up on a conflict
 * (those are part of the exercise), and `stop` resolves after its last commit.
 */
import type { Random } from './random.ts';
import { type ApplicationSession, openSession } from './application.ts';

export const AWKWARD_TABLES: readonly string[] = ['doc', 'line', 'word', 'guid', 'mood', 'reading', 'note', 'empty'];

/** Needs the extension citext. */
export const AWKWARD_SCHEMA = `
  CREATE EXTENSION IF NOT EXISTS citext;
  CREATE TYPE feeling AS ENUM ('sad', 'ok', 'happy', 'zen', 'angry');
  CREATE TABLE doc (id int PRIMARY KEY, n int, body text, extra text);
  ALTER TABLE doc ALTER COLUMN body SET STORAGE EXTERNAL;
  ALTER TABLE doc ALTER COLUMN extra SET STORAGE EXTERNAL;
  CREATE TABLE line (name text, amount numeric, v int, PRIMARY KEY (name, amount));
  CREATE TABLE word (w citext, lang text, v int, PRIMARY KEY (w, lang));
  CREATE TABLE guid (id uuid PRIMARY KEY, v int);
  CREATE TABLE mood (f feeling, id int, v text, doubled int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (f, id));
  CREATE TABLE reading (day int, id int, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
  CREATE TABLE reading_1 PARTITION OF reading FOR VALUES FROM (0) TO (10);
  CREATE TABLE reading_2 PARTITION OF reading FOR VALUES FROM (10) TO (20);
  CREATE TABLE note (a int, b text);
  ALTER TABLE note REPLICA IDENTITY FULL;
  CREATE TABLE empty (id int PRIMARY KEY);
  INSERT INTO doc SELECT i, 0, repeat(i::text, 900), repeat('e', 2500) FROM generate_series(1, 400) i;
  INSERT INTO line SELECT E'l\\t\\\\' || i % 50, i / 7.0, i FROM generate_series(1, 1500) i;
  INSERT INTO word SELECT CASE WHEN i % 2 = 0 THEN 'W' ELSE 'w' END || i, 'de', i FROM generate_series(1, 900) i;
  INSERT INTO guid SELECT md5(i::text)::uuid, i FROM generate_series(1, 900) i;
  INSERT INTO mood SELECT (enum_range(null::feeling))[1 + i % 5], i, E'a\\nb' FROM generate_series(1, 900) i;
  INSERT INTO reading SELECT i % 20, i, 'r' FROM generate_series(1, 900) i;
  INSERT INTO note SELECT i % 40, 'n' || i % 7 FROM generate_series(1, 600) i;
`;

export class RandomWriter {
  readonly #url: string;
  readonly #random: Random;
  readonly #truncates: boolean;
  #running: Promise<void> | undefined;
  #stopped = false;
  transactions = 0;

  constructor(url: string, random: Random, options: { readonly truncates: boolean } = { truncates: false }) {
    this.#url = url;
    this.#random = random;
    this.#truncates = options.truncates;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    await using session = await openSession(this.#url);
    while (!this.#stopped) {
      await session.query('BEGIN');
      try {
        for (let i = this.#random.between(1, 4); i > 0; i--) await this.#write(session);
        await session.query(this.#random.chance(0.1) ? 'ROLLBACK' : 'COMMIT');
        this.transactions++;
      } catch {
        await session.query('ROLLBACK');
      }
    }
  }

  async #write(session: ApplicationSession): Promise<void> {
    const r = this.#random;
    const n = r.between(1, 100_000);
    const at = r.between(1, 450);
    const statements = [
      `UPDATE doc SET n = ${n} WHERE id = ${at}`,
      `UPDATE doc SET n = ${n}, extra = repeat('${n % 10}', 2600) WHERE id BETWEEN ${at} AND ${at + 3}`,
      `UPDATE doc SET n = ${n}, body = repeat('${n % 10}', 3000), extra = repeat('f', 2700) WHERE id = ${at}`,
      `UPDATE doc SET id = ${500 + n} WHERE id = ${at}`,
      `UPDATE doc SET id = ${at} WHERE id > 500 AND id % 7 = ${n % 7}`,
      `DELETE FROM doc WHERE id = ${at}`,
      `INSERT INTO doc VALUES (${at}, ${n}, repeat('i', 3000), NULL) ON CONFLICT (id) DO UPDATE SET n = excluded.n`,
      `UPDATE line SET v = ${n} WHERE name LIKE '%${at % 50}' AND v % 5 = ${n % 5}`,
      `UPDATE line SET amount = amount + 0.10 WHERE v % 300 = ${at % 300}`,
      `DELETE FROM line WHERE v % 200 = ${at % 200}`,
      `INSERT INTO line VALUES (E'n\\t${n % 90}', ${n}.50, ${n})`,
      `UPDATE word SET v = ${n}, w = upper(w::text) WHERE v % 100 = ${at % 100}`,
      `INSERT INTO word VALUES ('w${n % 2000}', 'en', ${n})`,
      `DELETE FROM word WHERE v % 150 = ${at % 150}`,
      `UPDATE guid SET v = ${n} WHERE v % 90 = ${at % 90}`,
      `INSERT INTO guid VALUES (md5('${n}')::uuid, ${n})`,
      `UPDATE mood SET f = 'zen', v = '${n}' WHERE id = ${at * 2}`,
      `UPDATE reading SET v = '${n}' WHERE id = ${at}`,
      `UPDATE reading SET day = ${n % 20} WHERE id = ${at}`,
      `INSERT INTO note VALUES (${n % 40}, 'n${n % 7}'), (${n % 40}, 'n${n % 7}')`,
      `DELETE FROM note WHERE ctid = (SELECT ctid FROM note WHERE a = ${n % 40} LIMIT 1)`,
      `UPDATE note SET b = '${n % 9}' WHERE ctid = (SELECT ctid FROM note WHERE a = ${n % 40} LIMIT 1)`,
      ...(this.#truncates && r.chance(0.05) ? ['TRUNCATE guid', 'TRUNCATE reading', 'TRUNCATE note', 'TRUNCATE doc'] : []),
    ];
    await session.query(statements[r.between(0, statements.length - 1)]!);
  }
}
