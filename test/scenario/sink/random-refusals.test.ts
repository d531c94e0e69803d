import { afterEach, expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { byText, interrupt, RandomSource, SOURCE_DDL, type Row } from '#test/support/random-source.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type SinkHarness } from '#test/support/sink-harness.ts';
import { randomOf } from '#test/support/random.ts';

const TRANSACTIONS = 60;
const SEEDS = (process.env['SINK_SEEDS'] ?? '21,22,23,24').split(',').map(Number);
const COLUMNS = { person: ['id', 'email', 'big', 'n'], pair: ['a', 'b', 'v'] } as const;

afterEach(() => installTestHooks({}));

/** As the reader copies keys again: the source's rows, and deletes for those that it does not have. */
async function recopyBlocked(harness: SinkHarness, source: RandomSource): Promise<number> {
  const blocked = await harness.rows(`SELECT source_table, key::text FROM crossfade.blocked ORDER BY id`);
  for (const table of ['person', 'pair'] as const) {
    const keys = blocked.filter(([name]) => name === table).map(([, key]) => JSON.parse(key!) as string[]);
    keys.push(...harness.missing.filter((missing) => missing.table === table).flatMap((missing) => missing.keys.map((key) => [...key])));
    const rowOf = (key: readonly string[]): Row | undefined => source[table].get(key.join('|'));
    const there = [...new Map(keys.map((key) => [key.join('|'), rowOf(key)])).values()].filter((row) => row !== undefined);
    const gone = keys.filter((key) => rowOf(key) === undefined);
    const keyColumns = COLUMNS[table].slice(0, table === 'pair' ? 2 : 1);
    await harness.log.transaction(
      chunkFrame({ schema: 'old', table, columns: COLUMNS[table], recopy: true }, there),
      encodeJsonFrame(FRAME.chunkDeletes, { chunk: 'c', schema: 'old', table, keyColumns, keys: gone }),
    );
  }
  await harness.applied();
  return blocked.length;
}

test.each(SEEDS)('rows refused at random block their keys only, and retries end in the source’s state (seed %i)', async (seed) => {
  const random = randomOf(seed);
  await using database = await freshDatabase(seed % 2 === 0 ? 14 : 18);
  await using harness = await sinkHarness({
    url: database.url,
    ddl: SOURCE_DDL,
    targetDdl: `ALTER TABLE new.person ADD CONSTRAINT refused CHECK (n <> 3.50); ALTER TABLE new.pair ADD CONSTRAINT refused CHECK (v NOT LIKE 't1%')`,
    onRowError: 'set-aside',
    sink: { batchRows: [1, 50, 10_000][seed % 3]! },
  });
  const tables = ['person', 'pair', 'loose'].map((name) => harness.table(name));
  await harness.follow(...tables);
  const source = new RandomSource(harness, random);
  harness.start();
  const { done } = interrupt(database.url, randomOf(seed + 1));
  await harness.log.transaction(...tables.map((table) => table.relation));
  for (let i = 0; i < TRANSACTIONS; i++) {
    const many = Array.from({ length: 1 + random(4) }, () => source.transaction());
    await harness.log.transactions(many.filter((frames) => frames.length > 0));
  }
  await harness.applied();
  installTestHooks({});
  await done();
  expect(harness.held).toEqual([]);
  // Every key that is not blocked shows the source's row.
  const blocked = new Set((await harness.rows(`SELECT source_table || key::text FROM crossfade.blocked`)).map(([key]) => key!));
  expect(blocked.size).toBeGreaterThan(0);
  expect(harness.sink.status().deadLetters).toBe(blocked.size);
  const others = (table: 'person' | 'pair', rows: Row[]): Row[] =>
    rows.filter((row) => !blocked.has(table + JSON.stringify(row.slice(0, table === 'pair' ? 2 : 1)))).toSorted(byText);
  for (const table of ['person', 'pair'] as const)
    expect(others(table, await harness.rows(`SELECT * FROM new.${table}`)), table).toEqual(others(table, [...source[table].values()]));

  await harness.rows('ALTER TABLE new.person DROP CONSTRAINT refused; ALTER TABLE new.pair DROP CONSTRAINT refused');
  await recopyBlocked(harness, source);
  expect(await harness.rows(`SELECT source_table, key::text, message FROM crossfade.blocked`)).toEqual([]);
  expect(harness.sink.status().deadLetters).toBe(0);
  for (const table of ['person', 'pair'] as const)
    expect((await harness.rows(`SELECT * FROM new.${table}`)).toSorted(byText), table).toEqual(
      [...source[table].values()].toSorted(byText),
    );
  expect((await harness.rows('SELECT * FROM new.loose')).toSorted(byText)).toEqual(source.loose.toSorted(byText));
});
