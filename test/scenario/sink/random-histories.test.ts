import { afterEach, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { byText, interrupt, RandomSource, SOURCE_DDL } from '#test/support/random-source.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';
import { randomOf } from '#test/support/random.ts';

const TRANSACTIONS = 150;
const SEEDS = (process.env['SINK_SEEDS'] ?? '11,12,13,14,15,16').split(',').map(Number);

afterEach(() => installTestHooks({}));

test.each(SEEDS)('a random history with sessions ended at random leaves the source’s state (seed %i)', async (seed) => {
  const random = randomOf(seed);
  await using database = await freshDatabase(seed % 2 === 0 ? 14 : 18);
  await using harness = await sinkHarness({ url: database.url, ddl: SOURCE_DDL, sink: { batchRows: [1, 50, 10_000][seed % 3]! } });
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
  expect(harness.sink.status().restarts).toBeGreaterThan(0);
  expect(harness.held).toEqual([]);
  expect(harness.missing).toEqual([]);
  expect((await harness.rows('SELECT * FROM new.person')).toSorted(byText)).toEqual([...source.person.values()].toSorted(byText));
  expect((await harness.rows('SELECT * FROM new.pair')).toSorted(byText)).toEqual([...source.pair.values()].toSorted(byText));
  expect((await harness.rows('SELECT * FROM new.loose')).toSorted(byText)).toEqual(source.loose.toSorted(byText));
});
