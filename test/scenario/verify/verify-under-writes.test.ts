/** No false alarm while writers run, with the pipeline following, and with it stopped in the middle of the writes. */
import { afterEach, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';
import { play, type Played } from './played-pipeline.ts';
import { versions } from '#test/support/postgres.ts';

const SQL = `
CREATE TABLE account (id int4 PRIMARY KEY, owner text, balance numeric(12,2) NOT NULL, body text, hot boolean NOT NULL);
ALTER TABLE account ALTER body SET STORAGE EXTERNAL;
CREATE TABLE seen (id int4 PRIMARY KEY, hot boolean NOT NULL, v text);
ALTER TABLE seen REPLICA IDENTITY FULL;
CREATE TABLE tick (what text, n int4);
ALTER TABLE tick REPLICA IDENTITY FULL;
CREATE TABLE part (id int4, region int4, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);`;

const TARGET = SQL.replace(
  'id int4 PRIMARY KEY, owner text, balance numeric(12,2)',
  'id int8 PRIMARY KEY, owner varchar, balance numeric(14,4)',
);
const TABLES = `  - from: public.account\n  - from: public.seen\n    where: { hot: true }\n  - from: public.tick\n  - from: public.part\n`;
const BIG = `(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100) i)`;

/** One transaction of a writer that mixes what is hard: key changes, unchanged TOAST, filter crossings, deletes, rollbacks. */
function transaction(random: Random): string[] {
  const id = (): number => random.between(1, 60);
  const statements = Array.from({ length: random.between(1, 4) }, () => {
    switch (random.between(0, 11)) {
      case 0:
        return `INSERT INTO account VALUES (${id()}, 'o', 1.5, ${BIG}, ${random.chance(0.7)}) ON CONFLICT (id) DO UPDATE SET body = excluded.body`;
      case 1:
        return `DELETE FROM account WHERE id = ${id()}`;
      case 2:
        return `UPDATE account SET id = ${id()} + 100 WHERE id = ${id()} AND NOT EXISTS (SELECT FROM account WHERE id > 100)`;
      case 3:
        return `UPDATE account SET id = id - 100 WHERE id > 100 AND NOT EXISTS (SELECT FROM account b WHERE b.id = account.id - 100)`;
      case 4:
        return `INSERT INTO tick VALUES ('t' || ${random.between(1, 5)}, ${random.between(1, 3)})`;
      case 5:
        return `DELETE FROM tick WHERE ctid IN (SELECT ctid FROM tick LIMIT 1)`;
      case 6:
        return `UPDATE part SET region = 3 - region WHERE id = ${id()}`;
      case 7:
        return `INSERT INTO part VALUES (${id()}, ${random.between(1, 2)}, 'x') ON CONFLICT DO NOTHING`;
      case 8:
        return `UPDATE tick SET n = n + 1 WHERE ctid IN (SELECT ctid FROM tick LIMIT 1)`;
      case 9:
        return `UPDATE seen SET hot = NOT hot, v = v || 'x' WHERE id = ${id()}`;
      case 10:
        return `INSERT INTO seen VALUES (${id()}, ${random.chance(0.7)}, 'v') ON CONFLICT (id) DO UPDATE SET id = excluded.id + 1000 WHERE NOT EXISTS (SELECT FROM seen b WHERE b.id = excluded.id + 1000)`;
      default:
        return `UPDATE account SET balance = balance + ${random.between(-100, 100)}, hot = ${random.chance(0.8)} WHERE id = ${id()}`;
    }
  });
  return statements;
}

/** Writes until told to stop. @returns committed transactions. */
async function write(pipeline: Played, random: Random, stop: AbortSignal): Promise<number> {
  const client = await connect(pipeline.sourceUrl, {
    applicationName: 'writer',
    role: 'source',
    settings: { search_path: 'public', deadlock_timeout: '10ms' },
  });
  let done = 0;
  while (!stop.aborted) {
    try {
      await client.query('BEGIN');
      for (const statement of transaction(random)) await client.query(statement);
      await client.query(random.chance(0.1) ? 'ROLLBACK' : 'COMMIT');
      done++;
    } catch {
      await client.query('ROLLBACK'); // two writers met on one key
    }
    await pipeline.caughtUp(); // the played pipeline is slow; its lag must stay finite
  }
  await client.end();
  return done;
}

async function withWriters<T>(pipeline: Played, random: Random, body: () => Promise<T>): Promise<{ result: T; written: number }> {
  const stop = new AbortController();
  const writers = [1, 2, 3].map(() => write(pipeline, seeded(random.between(1, 1e9)), stop.signal));
  try {
    const result = await body();
    stop.abort();
    return { result, written: (await Promise.all(writers)).reduce((sum, one) => sum + one, 0) };
  } finally {
    stop.abort();
  }
}

afterEach(() => installTestHooks({}));

const ROUNDS = Number(process.env['CROSSFADE_VERIFY_ROUNDS'] ?? 8);

for (const version of versions(14)) {
  test(`no false alarm under writes, and one corrupt cell is found at once, on PostgreSQL ${version}`, async () => {
    const seed = seedFromEnvironment();
    const random = seeded(seed);
    await using pipeline = await play({ version, sourceSql: SQL, targetSql: TARGET, tables: TABLES });
    await pipeline.source.query(`INSERT INTO account SELECT g, 'owner ' || g, g, ${BIG}, g % 5 > 0 FROM generate_series(1, 60) g`);
    await pipeline.source.query(`INSERT INTO part SELECT g, 1 + g % 2, 'v' FROM generate_series(1, 40) g`);
    await pipeline.source.query(`INSERT INTO seen SELECT g, g % 3 > 0, 'v' FROM generate_series(1, 40) g`);
    await pipeline.follow();
    const { written } = await withWriters(pipeline, random, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        if (round % 4 === 3) await pipeline.stopFollowing();
        const found = await pipeline.verify();
        expect(found, `round ${round}, seed ${seed}`).toMatchObject({ differences: 0 });
        for (const table of found.tables) expect(table.inconclusive, `${table.to}, round ${round}, seed ${seed}`).toBeUndefined();
        if (round % 4 === 3) await pipeline.follow();
      }
    });
    expect(written).toBeGreaterThan(ROUNDS);

    await pipeline.target.query(`INSERT INTO account VALUES (500, 'corrupt', 0, NULL, true)`);
    await withWriters(pipeline, random, async () => {
      const found = await pipeline.verify();
      expect(found).toMatchObject({ differences: 1, inconclusive: 0 });
      expect(found.tables[0]?.sample).toMatchObject([{ key: { id: '500' }, kind: 'extra' }]);
    });
  });
}

test('without the changes between the two snapshots the same writes raise false alarms', async () => {
  const random = seeded(seedFromEnvironment());
  await using pipeline = await play({ sourceSql: SQL, targetSql: TARGET, tables: TABLES });
  await pipeline.source.query(`INSERT INTO account SELECT g, 'owner ' || g, g, ${BIG}, g % 5 > 0 FROM generate_series(1, 60) g`);
  await pipeline.follow();
  installTestHooks({ disabledGuards: ['verify-changes'] });
  await withWriters(pipeline, random, async () => {
    let differences = 0;
    for (let round = 0; round < 50 && differences === 0; round++) ({ differences } = await pipeline.verify());
    expect(differences).toBeGreaterThan(0);
  });
});
