/** Several source tables into one target, told apart by a constant in its key: none ever touches another one's rows. */
import { describe, expect, test } from 'vitest';
import type { SetEntry, TableEntry } from '#schemas/config/migration-file.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness, type TableFrames } from '#test/support/sink-harness.ts';

const DDL = 'CREATE TABLE eu (id int PRIMARY KEY, name text, big text); CREATE TABLE us (id int PRIMARY KEY, name text, big text)';
const TARGET_DDL = `DROP TABLE eu, us; CREATE TABLE item (shard text, id int, name text, big text CHECK (big <> 'bad'), PRIMARY KEY (shard, id), UNIQUE (shard, name))`;
const ALL = 'SELECT shard, id, name, big FROM new.item ORDER BY shard, id';

const shard = (value: string): Record<string, SetEntry> => ({ shard: { from: [], value, steps: [], line: 1, column: 1 } });
const entries: readonly Partial<TableEntry>[] = ['eu', 'us'].map((name) => ({ from: `old.${name}`, to: 'new.item', set: shard(name) }));

function union(url: string, more: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  return sinkHarness({ url, ddl: DDL, targetDdl: TARGET_DDL, entries, ...more });
}

async function started(harness: SinkHarness): Promise<readonly [eu: TableFrames, us: TableFrames]> {
  const [eu, us] = [harness.table('eu'), harness.table('us')];
  await harness.follow(eu, us);
  harness.start();
  const rows = (of: TableFrames, name: string): Buffer[] => [1, 2].map((id) => of.insert(id, `${name}${id}`, 'x'));
  await harness.log.transaction(eu.relation, us.relation, ...rows(eu, 'e'), ...rows(us, 'u'));
  await harness.applied();
  return [eu, us];
}

describe.each([1, 100])('in rounds of %i changes of each', (size) => {
  const ids = Array.from({ length: size }, (_, i) => 1000 + i);

  test('inserts, updates, deletes and key changes stay within their part', async () => {
    await using database = await freshDatabase();
    await using harness = await union(database.url);
    const [eu, us] = await started(harness);
    await harness.log.transaction(...ids.flatMap((id) => [eu.insert(id, `n${id}`, 'x'), us.insert(id, `n${id}`, 'y')]));
    await harness.log.transaction(...ids.map((id) => eu.update(id, `m${id}`, undefined)));
    await harness.applied();
    await harness.log.transaction(...ids.map((id) => us.delete(id, null, null)));
    await harness.applied();
    await harness.log.transaction(...ids.map((id) => eu.updateFrom([id, null, null], [id + 5000, `k${id}`, undefined])));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['eu', '1', 'e1', 'x'],
      ['eu', '2', 'e2', 'x'],
      ...ids.map((id) => ['eu', String(id + 5000), `k${id}`, 'x']),
      ['us', '1', 'u1', 'x'],
      ['us', '2', 'u2', 'x'],
    ]);
  });

  test('unique values that are swapped within one part are redone there', async () => {
    await using database = await freshDatabase();
    await using harness = await union(database.url);
    const [eu, us] = await started(harness);
    await harness.log.transaction(...ids.flatMap((id) => [eu.insert(id, `n${id}`, 'x'), us.insert(id, `n${id}`, 'y')]));
    await harness.applied();
    const swapped = (id: number): string => (id === 1000 ? 'e1' : `n${id}`);
    await harness.log.transactions([
      [eu.update(1, 'tmp', 'x')],
      ids.map((id) => eu.update(id, swapped(id), undefined)),
      [eu.update(1, 'n1000', undefined)],
    ]);
    await harness.applied();
    expect(await harness.rows("SELECT id, name FROM new.item WHERE shard = 'eu' AND id IN (1, 1000) ORDER BY id")).toEqual([
      ['1', 'n1000'],
      ['1000', 'e1'],
    ]);
    expect(await harness.rows("SELECT count(*), min(big) FROM new.item WHERE shard = 'us' AND id >= 1000")).toEqual([[String(size), 'y']]);
    expect(harness.held).toEqual([]);
  });
});

test('a truncate, the first chunk of a re-copy, and a resume empty one part', async () => {
  await using database = await freshDatabase();
  await using harness = await union(database.url);
  const [eu, us] = await started(harness);
  await harness.log.transaction(eu.truncate(), eu.insert(7, 'seven', 'x'));
  await harness.applied();
  const ofUs = [
    ['us', '1', 'u1', 'x'],
    ['us', '2', 'u2', 'x'],
  ];
  expect(await harness.rows(ALL)).toEqual([['eu', '7', 'seven', 'x'], ...ofUs]);
  const chunk = { schema: 'old', table: 'eu', columns: ['id', 'name', 'big'], recopy: true, truncate: true };
  await harness.log.transaction(chunkFrame(chunk, [[8, 'eight', 'x']]));
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([['eu', '8', 'eight', 'x'], ...ofUs]);
  await harness.log.transaction(us.update(1, 'u1', 'bad'));
  await harness.applied();
  const states = (): string[] => harness.sink.status().tables.map(({ from, state }) => `${from.name} ${state}`);
  expect(states()).toEqual(['eu following', 'us held']);
  expect(await harness.sink.resumeTable({ schema: 'old', name: 'us' })).toBe(true);
  expect(await harness.rows(ALL)).toEqual([['eu', '8', 'eight', 'x']]);
});

test('rows that the target has already are looked for, or cleared, in each part', async () => {
  await using database = await freshDatabase();
  const filled = `${TARGET_DDL}; INSERT INTO item VALUES ('other', 1, 'o', 'x'), ('eu', 9, 'old', 'x')`;
  const merged = entries.map((entry, i) => ({ ...entry, existing: i === 0 ? ('truncate' as const) : ('refuse' as const) }));
  await using harness = await union(database.url, { targetDdl: filled, entries: merged });
  await started(harness);
  expect(await harness.rows("SELECT shard, id FROM new.item WHERE shard <> 'us' ORDER BY shard, id")).toEqual([
    ['eu', '1'],
    ['eu', '2'],
    ['other', '1'],
  ]);
});

test('parts that refer to a table that is emptied at the start are emptied with it', async () => {
  await using database = await freshDatabase();
  const filled = `DROP TABLE us; ALTER TABLE item ADD FOREIGN KEY (big) REFERENCES eu_land; INSERT INTO eu_land VALUES ('x');
    INSERT INTO item VALUES ('eu', 1, 'o', 'x'), ('us', 1, 'o', 'x')`;
  await using harness = await union(database.url, {
    ddl: `${DDL}; CREATE TABLE eu_land (code text PRIMARY KEY)`,
    targetDdl: `${TARGET_DDL.replace('DROP TABLE eu, us', 'DROP TABLE eu')}; ${filled}`,
    entries: [{ from: 'old.eu_land', to: 'new.eu_land' }, ...entries],
    existing: 'truncate',
  });
  await started(harness);
  expect(await harness.rows('SELECT (SELECT count(*) FROM new.eu_land), (SELECT count(*) FROM new.item)')).toEqual([['0', '4']]);
});
