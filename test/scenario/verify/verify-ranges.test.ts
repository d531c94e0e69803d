/** Ranges of a table's key: what lies in them is compared exactly, what lies outside is not looked at, and the key's index finds them. */
import { afterEach, expect, test, vi } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { chooseRanges } from '#connectors/probe/postgres/choose-ranges.ts';
import { rangeConditions } from '#connectors/probe/postgres/range-sql.ts';
import { newDigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import { bucketSums, readByIndex, tableProbe } from '#connectors/probe/postgres/table-scan.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { joinRanges, keyTextOf, rangeable, rangeFinder, type KeyRange, type RangeKind } from '#schemas/reconcile/key-range.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { quoteTable } from '#schemas/table.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';
import { play, type Played } from './played-pipeline.ts';

afterEach(() => installTestHooks({}));

/** For a machine that does much else. */
vi.setConfig({ testTimeout: 180_000 });

const KEYS = `
CREATE TABLE small (id int2 PRIMARY KEY, v text);
CREATE TABLE wide (id int4 PRIMARY KEY, v text);
CREATE TABLE widest (id int8, other text, v text, PRIMARY KEY (id, other));
CREATE TABLE tag (id uuid PRIMARY KEY, v text);
CREATE TABLE named (id text PRIMARY KEY, v text);
CREATE TABLE keyless (id int4, v text);
ALTER TABLE keyless REPLICA IDENTITY FULL;`;
const WIDER = KEYS.replace('small (id int2 PRIMARY KEY', 'small (id int4 UNIQUE').replace('wide (id int4', 'wide (id int8');

const ROUNDS = 40;

test('a key is in a range exactly where PostgreSQL says so, on both sides and for every type of key', async () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  await using pipeline = await play({ sourceSql: KEYS, targetSql: WIDER });
  const limits = { small: 2n ** 15n, wide: 2n ** 31n, widest: 2n ** 63n } as const;
  const kinds = Object.fromEntries(pipeline.mapping.tables.map((table) => [table.from.name, rangeable(table)]));
  expect(kinds).toEqual({ small: 'integer', wide: 'integer', widest: 'integer', tag: 'uuid', named: undefined, keyless: undefined });
  for (const name of ['small', 'wide', 'widest', 'tag'] as const) {
    const mapping = tableOf(pipeline, name);
    const kind = rangeable(mapping)!;
    const key = (): string => randomKey(random, name === 'tag' ? { kind, limit: 0n } : { kind, limit: limits[name] });
    const keys = [...new Set(Array.from({ length: 200 }, key))];
    const other = name === 'widest' ? ', other' : '';
    for (const client of [pipeline.source, pipeline.target])
      await client.query(
        `INSERT INTO ${name} (id${other}) SELECT unnest($1::text[])::${kind === 'uuid' ? 'uuid' : 'int8'}${other && ", 'x'"}`,
        [keys],
      );
    for (let round = 0; round < ROUNDS; round++) {
      const bound = (): string | undefined =>
        random.chance(0.2) ? undefined : random.chance(0.5) ? key() : keys[random.between(0, keys.length - 1)];
      const range: KeyRange = { low: bound(), high: bound() };
      const find = rangeFinder(kind, [range]);
      const expected = keys.filter((one) => find(one) !== undefined).toSorted();
      for (const side of ['source', 'target'] as const) {
        const where = rangeConditions({ mapping, side, range }).map((one) => `AND (${one})`);
        const { rows } = await pipeline[side].query<{ id: string }>(`SELECT id::text FROM ${name} t WHERE true ${where.join(' ')}`);
        expect(rows.map(({ id }) => id).toSorted(), `${name} ${side} ${JSON.stringify(range)}, seed ${seed}`).toEqual(expected);
      }
    }
  }
});

function tableOf({ mapping }: Played, name: string): TableMapping {
  return mapping.tables.find((table) => table.from.name === name)!;
}

/** Ends of the type, small numbers, and all between. */
function randomKey(random: Random, { kind, limit }: { readonly kind: RangeKind; readonly limit: bigint }): string {
  const bits = (count: number): bigint => {
    let value = 0n;
    for (let i = 0; i < count; i++) value = value * 2n + BigInt(random.between(0, 1));
    return value;
  };
  if (kind === 'uuid') return keyTextOf('uuid', random.chance(0.2) ? bits(8) : random.chance(0.1) ? 2n ** 128n - 1n - bits(4) : bits(128));
  if (random.chance(0.2)) return String(random.chance(0.5) ? limit - 1n - bits(3) : -limit + bits(3));
  return String(random.chance(0.3) ? bits(4) - 8n : bits(limit.toString(2).length) - limit);
}

const SQL = `
CREATE TABLE item (id int4 PRIMARY KEY, v text, n int4 NOT NULL DEFAULT 0, body text);
ALTER TABLE item ALTER body SET STORAGE EXTERNAL;
CREATE TABLE other (id int4 PRIMARY KEY, v text);`;
const TARGET = SQL.replace('item (id int4', 'item (id int8');
const BIG = `(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100) i)`;
const FILL = `INSERT INTO item SELECT g, 'v' || g FROM generate_series(1, 2000) g; INSERT INTO other SELECT g, 'v' FROM generate_series(1, 50) g`;

const only =
  (name: string, ranges: readonly KeyRange[]) =>
  (table: TableMapping): readonly KeyRange[] =>
    table.from.name === name ? ranges : [];

test('a corruption inside a range is named, one outside of all ranges is not looked at, and the rows of each range are told', async () => {
  await using pipeline = await play({ sourceSql: SQL, targetSql: TARGET });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.target.query(
    `UPDATE item SET n = 7 WHERE id IN (150, 900); DELETE FROM item WHERE id = 1500; INSERT INTO item VALUES (5000)`,
  );

  const ranges = [{ low: '1000', high: '1600' }, { low: '101', high: '201' }, { low: '4000' }];
  const found = await pipeline.verify({ parts: only('item', ranges) });
  expect(found).toMatchObject({ differences: 3, inconclusive: 0 });
  expect(found.tables).toHaveLength(1);
  const [item] = found.tables;
  expect(item).toMatchObject({ to: 'public.item', missing: 1, extra: 1, different: 1, rowsSource: 700, rowsTarget: 700 });
  expect(item!.sample.map(({ key, kind, columns }) => [key?.['id'], kind, columns])).toEqual([
    ['150', 'different', ['n']],
    ['1500', 'missing', []],
    ['5000', 'extra', []],
  ]);
  expect(item!.ranges).toEqual([
    { low: '101', high: '201', rows: 100, differences: 1 },
    { low: '1000', high: '1600', rows: 600, differences: 1 },
    { low: '4000', high: undefined, rows: 0, differences: 1 },
  ]);
  expect(
    await pipeline.verify({
      parts: only('item', [
        { low: '1', high: '150' },
        { low: '151', high: '900' },
        { low: '901', high: '1500' },
      ]),
    }),
  ).toMatchObject({
    differences: 0,
    tables: [{ rowsSource: 149 + 749 + 599 }],
  });
});

test('neighbouring ranges are read as one, and ranges that share a key are refused', async () => {
  await using pipeline = await play({ sourceSql: SQL });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  const cut = (low: number | undefined, high: number | undefined): KeyRange => ({ low: low?.toString(), high: high?.toString() });
  const found = await pipeline.verify({ parts: only('item', [cut(101, 201), cut(undefined, 101), cut(1001, undefined), cut(201, 301)]) });
  expect(found.tables[0]!.ranges).toEqual([
    { low: undefined, high: '301', rows: 300, differences: 0 },
    { low: '1001', high: undefined, rows: 1000, differences: 0 },
  ]);
  await expect(pipeline.verify({ parts: only('item', [cut(1, 10), cut(9, 20)]) })).rejects.toThrow('share no key');
  expect(joinRanges(tableOf(pipeline, 'item'), [cut(5, 5), cut(9, 7)])).toEqual([]);
});

test('a target row whose key has no value is in the range without an upper bound', async () => {
  await using pipeline = await play({ sourceSql: KEYS, targetSql: WIDER, tables: '  - from: public.small\n' });
  await pipeline.source.query('INSERT INTO small SELECT g FROM generate_series(1, 100) g');
  await pipeline.follow();
  await pipeline.verify();
  await pipeline.target.query(`INSERT INTO small (id, v) VALUES (NULL, 'stray')`);
  expect(await pipeline.verify({ parts: () => [{ high: '50' }] })).toMatchObject({ differences: 0 });
  expect(await pipeline.verify({ parts: () => [{ low: '50' }] })).toMatchObject({ differences: 1, tables: [{ extra: 1 }] });
});

/** Changes that cross a boundary at 1000: moves in, out and through, with values that the stream leaves out. */
function transaction(random: Random): string[] {
  const id = (): number => random.between(980, 1020);
  return Array.from({ length: random.between(1, 4) }, () => {
    switch (random.between(0, 5)) {
      case 0:
        return `INSERT INTO item VALUES (${id()}, 'new', 1, ${BIG}) ON CONFLICT (id) DO UPDATE SET body = excluded.body`;
      case 1:
        return `DELETE FROM item WHERE id = ${id()}`;
      case 2:
      case 3:
        return `UPDATE item SET id = ${id()} WHERE id = ${id()} AND NOT EXISTS (SELECT FROM item WHERE id = 1005)`;
      case 4:
        return `UPDATE item SET id = 2000 - id WHERE id = ${id()} AND NOT EXISTS (SELECT FROM item b WHERE b.id = 2000 - item.id)`;
      default:
        return `UPDATE item SET n = n + 1 WHERE id = ${id()}`;
    }
  });
}

/** @returns whether it committed. */
async function run(client: Played['source'], statements: readonly string[]): Promise<boolean> {
  try {
    await client.query('BEGIN');
    for (const statement of statements) await client.query(statement);
    await client.query('COMMIT');
    return true;
  } catch {
    await client.query('ROLLBACK');
    return false;
  }
}

test('a row that a change moves into a range or out of it is judged where it is, while the target stands still', async () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  await using pipeline = await play({ sourceSql: SQL, targetSql: TARGET });
  await pipeline.source.query(`${FILL}; UPDATE item SET body = ${BIG} WHERE id BETWEEN 980 AND 1020`);
  await pipeline.follow();
  await pipeline.verify();
  for (let round = 0; round < 5; round++) {
    const about = `round ${round}, seed ${seed}`;
    await pipeline.stopFollowing();
    for (let i = 0; i < 15; i++) await run(pipeline.source, transaction(random));
    const [low, high] = [random.between(975, 1000), random.between(1000, 1025)];
    const ranges = [{ low: String(low), high: String(high) }, { low: String(high + 2) }];
    const clean = await pipeline.verify({ parts: only('item', ranges) });
    expect(clean, about).toMatchObject({ differences: 0, inconclusive: 0 });
    // Before the changes that wait for it, at a key that none of them touches.
    await pipeline.target.query(`UPDATE item SET n = -1 WHERE id IN (970, 1030)`);
    expect(await pipeline.verify({ parts: only('item', ranges) }), about).toMatchObject({ differences: 1, inconclusive: 0 });
    await pipeline.target.query(`UPDATE item SET n = 0 WHERE id IN (970, 1030)`);
    const rows = await pipeline.source.query<{ n: string }>(`SELECT count(1)::text AS n FROM item WHERE id >= ${low} AND id < ${high}`);
    // The target's own state is told; it has still to take the changes.
    await pipeline.follow();
    const after = await pipeline.verify({ parts: only('item', ranges) });
    expect(after, about).toMatchObject({ differences: 0, inconclusive: 0 });
    expect(after.tables[0]!.ranges![0], about).toMatchObject({ rows: Number(rows.rows[0]!.n) });
  }
});

test('without the rule that only rows of a range are taken out of its sums, a change elsewhere breaks the comparison', async () => {
  await using pipeline = await play({ sourceSql: SQL });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  await pipeline.verify();
  await pipeline.stopFollowing();
  await pipeline.source.query('UPDATE item SET id = id + 10000 WHERE id = 500');
  const parts = only('item', [{ low: '1', high: '400' }]);
  expect(await pipeline.verify({ parts })).toMatchObject({ differences: 0, inconclusive: 0 });
  installTestHooks({ disabledGuards: ['verify-range'] });
  await expect(pipeline.verify({ parts })).rejects.toThrow('sums differ where a row does');
});

test('under writes that move rows across the boundary no range gives a false alarm, and a corruption is found at once', async () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  await using pipeline = await play({ sourceSql: SQL, targetSql: TARGET });
  await pipeline.source.query(`${FILL}; UPDATE item SET body = ${BIG} WHERE id BETWEEN 980 AND 1020`);
  await pipeline.follow();
  const stop = new AbortController();
  const write = async (own: Random): Promise<number> => {
    const settings = { search_path: 'public', deadlock_timeout: '10ms' };
    const client = await connect(pipeline.sourceUrl, { applicationName: 'writer', role: 'source', settings });
    let done = 0;
    while (!stop.signal.aborted) {
      if (await run(client, transaction(own))) done++;
      await pipeline.caughtUp();
    }
    await client.end();
    return done;
  };
  const writers = [1, 2, 3].map(() => write(seeded(random.between(1, 1e9))));
  try {
    for (let round = 0; round < 6; round++) {
      const middle = random.between(985, 1015);
      const ranges = random.chance(0.5) ? [{ high: String(middle) }] : [{ low: String(middle), high: '1500' }, { low: '1700' }];
      const found = await pipeline.verify({ parts: only('item', ranges) });
      expect(found, `round ${round}, seed ${seed}`).toMatchObject({ differences: 0, inconclusive: 0 });
    }
    await pipeline.target.query(`UPDATE item SET v = 'corrupt' WHERE id = 970`);
    const found = await pipeline.verify({ parts: only('item', [{ high: '1000' }]) });
    expect(found.tables[0]!.sample).toMatchObject([{ key: { id: '970' }, kind: 'different', columns: ['v'] }]);
  } finally {
    stop.abort();
  }
  const written = await Promise.all(writers);
  expect(written.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(10);
});

test("ranges are found by the key's index, whatever their bounds and before the table has statistics", async () => {
  await using pipeline = await play({
    sourceSql: `${SQL} ALTER TABLE item SET (autovacuum_enabled = off)`,
    tables: '  - from: public.item\n',
  });
  const { source: client } = pipeline;
  await client.query(`INSERT INTO item SELECT g FROM generate_series(1, 20000) g`);
  const [shape] = await readShapes(client, [{ schema: 'public', name: 'item' }]);
  const probe = tableProbe(tableOf(pipeline, 'item'), () => true);
  const plan = newDigestPlan({ converted: false });
  for (const side of ['source', 'target'] as const) {
    for (const range of [{ low: '5000', high: '6000' }, { high: '15000' }, { low: '300' }] satisfies KeyRange[]) {
      await client.query('BEGIN');
      await readByIndex(client);
      const sent = vi.spyOn(client, 'query');
      await bucketSums({ client, side, probe, plan, shape: shape!, range, renew: () => Promise.resolve() }, 0n);
      const [sql] = sent.mock.calls.map(([one]) => textOf(one));
      sent.mockRestore();
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`);
      await client.query('ROLLBACK');
      const lines = rows.map((row) => row['QUERY PLAN']).join('\n');
      expect(lines).toContain('item_pkey');
      expect(lines).not.toContain('Seq Scan');
    }
  }
});

function textOf(query: unknown): string {
  return typeof query === 'string' ? query : (query as { readonly text: string }).text;
}

const CUTS = `
CREATE TABLE dense (id int8 PRIMARY KEY);
CREATE TABLE sparse (id int8 PRIMARY KEY);
CREATE TABLE tagged (id uuid PRIMARY KEY);
CREATE TABLE pairs (tenant int4, id int4, PRIMARY KEY (tenant, id));
CREATE TABLE leafed (id int8 PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE leafed_1 PARTITION OF leafed FOR VALUES FROM (MINVALUE) TO (3000);
CREATE TABLE leafed_2 PARTITION OF leafed FOR VALUES FROM (3000) TO (MAXVALUE);
CREATE TABLE empty (id int4 PRIMARY KEY);
CREATE TABLE named (id text PRIMARY KEY)`;

test.for([false, true])('ranges chosen cover all keys with about as many rows each (with statistics: %s)', async (analysed) => {
  await using pipeline = await play({ sourceSql: CUTS });
  const { source } = pipeline;
  await source.query(`INSERT INTO dense SELECT g FROM generate_series(1, 20000) g;
    INSERT INTO sparse SELECT g * 1000003::int8 * CASE WHEN g > 5000 THEN 50 ELSE 1 END FROM generate_series(-10000, 10000) g;
    INSERT INTO tagged SELECT md5(g::text)::uuid FROM generate_series(1, 20000) g;
    INSERT INTO pairs SELECT g % 100, g FROM generate_series(1, 20000) g;
    INSERT INTO leafed SELECT g * 7 FROM generate_series(1, 20000) g`);
  await source.query(
    analysed ? 'ANALYZE' : `UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`,
  );
  for (const name of ['dense', 'sparse', 'tagged', 'pairs', 'leafed']) {
    const mapping = tableOf(pipeline, name);
    const ranges = (await chooseRanges(source, mapping, 1000))!;
    expect(ranges.length, name).toBeGreaterThan(4);
    expect([ranges[0]!.low, ranges.at(-1)!.high], name).toEqual([undefined, undefined]);
    for (const [i, { low }] of ranges.entries()) expect(low, name).toBe(i === 0 ? undefined : ranges[i - 1]!.high);
    const counts: number[] = [];
    for (const range of ranges) {
      const where = rangeConditions({ mapping, side: 'source', range }).map((one) => `(${one})`);
      const { rows } = await source.query<{ n: string }>(
        `SELECT count(1)::text AS n FROM ${quoteTable(mapping.from)} t WHERE ${where.join(' AND ')}`,
      );
      counts.push(Number(rows[0]!.n));
    }
    expect(
      counts.reduce((sum, one) => sum + one, 0),
      name,
    ).toBe(name === 'sparse' ? 20_001 : 20_000);
    expect(Math.max(...counts), name).toBeLessThan(analysed ? 2500 : 6000);
  }
  expect(await chooseRanges(source, tableOf(pipeline, 'empty'))).toEqual([{}]);
  expect(await chooseRanges(source, tableOf(pipeline, 'named'))).toBeUndefined();
});
