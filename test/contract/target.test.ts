/**
 * What an adapter of the target port promises (connectors/target/README.md), asked of each through the sink itself: a log written by hand, and
 * the state that it must end in. To ask an adapter of your own, add it to the list.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { postgresStore } from '#connectors/target/postgres/store.ts';
import type { TargetStore } from '#connectors/target/target.ts';
import { sqliteStore } from '#test/examples/sqlite-target/store.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { byText, RandomSource, SOURCE_DDL } from '#test/support/random-source.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type SinkHarness } from '#test/support/sink-harness.ts';
import { randomOf } from '#test/support/random.ts';

interface TargetUnderTest {
  /** A store over the same target at each call. */
  store(harness: SinkHarness, instance?: string): TargetStore;
  /** All rows of a target table, as texts. */
  rows(harness: SinkHarness, table: string): Promise<(string | null)[][]>;
  /** A row that was there before us. */
  fill(harness: SinkHarness): Promise<void>;
}

interface Stage {
  readonly url: string;
}

function postgres({ url }: Stage): TargetUnderTest {
  return {
    store: (harness, instance = 'test') =>
      postgresStore({ url, mapping: harness.mapping, tables: harness.targetTables, synchronousCommit: false, instance }),
    rows: (harness, table) => harness.rows(`SELECT * FROM new.${table}`),
    fill: async (harness) => void (await harness.rows(`INSERT INTO new.item VALUES (1, 'before', NULL)`)),
  };
}

function sqlite(): TargetUnderTest {
  const path = join(mkdtempSync(join(tmpdir(), 'crossfade-sqlite-')), 'target.db');
  const within = <T>(work: (database: DatabaseSync) => T): T => {
    const database = new DatabaseSync(path);
    try {
      return work(database);
    } finally {
      database.close();
    }
  };
  return {
    store: ({ mapping }, instance = 'test') => sqliteStore({ path, mapping, instance }),
    rows: async (_harness, table) =>
      within((database) =>
        database
          .prepare(`SELECT * FROM "new.${table}"`)
          .all()
          .map((row) => Object.values(row) as (string | null)[]),
      ),
    fill: async () =>
      within((database) =>
        database.exec(`CREATE TABLE "new.item" (id, name, big, PRIMARY KEY (id)); INSERT INTO "new.item" VALUES ('1', 'before', NULL)`),
      ),
  };
}

const ADAPTERS = [
  { adapter: 'postgres', make: postgres },
  { adapter: 'sqlite (the example)', make: sqlite },
];
const ITEM = 'CREATE TABLE item (id int PRIMARY KEY, name text, big text)';

describe.each(ADAPTERS)('target: $adapter', ({ make }) => {
  async function stage(ddl: string): Promise<AsyncDisposable & { harness: SinkHarness; target: TargetUnderTest }> {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await freshDatabase());
    const harness = stack.use(await sinkHarness({ url: database.url, ddl }));
    const target = make({ url: database.url });
    const kept = stack.move();
    return { harness, target, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
  }

  test('changes arrive in the order of their commits, also those of a key', async () => {
    await using at = await stage(ITEM);
    const { harness, target } = at;
    const item = harness.table('item');
    await harness.follow(item);
    harness.start({ store: target.store(harness) });
    await harness.log.transaction(item.relation, item.insert(1, 'a', null), item.insert(2, 'b\t\\\n', 'x'), item.insert(3, 'c', 'y'));
    await harness.log.transaction(item.update(1, 'a2', undefined), item.delete(2, null, null));
    await harness.log.transaction(item.updateFrom([3, null, null], [4, 'moved', undefined]));
    await harness.applied();
    expect((await target.rows(harness, 'item')).toSorted(byText)).toEqual([
      ['1', 'a2', null],
      ['4', 'moved', 'y'],
    ]);
  });

  test('chunks are copied, changes behind them win, and rows of which only a part came are asked for', async () => {
    await using at = await stage(ITEM);
    const { harness, target } = at;
    const item = harness.table('item');
    const columns = ['id', 'name', 'big'];
    harness.start({ store: target.store(harness) });
    await harness.log.state(item.table, 'copying');
    await harness.log.transaction(chunkFrame({ schema: 'old', table: 'item', columns }, [[1, 'one', null], [2, 'two', 'tab\t']])); // prettier-ignore
    await harness.log.transaction(item.relation, item.update(2, 'two!', undefined));
    await harness.log.state(item.table, 'following');
    await harness.log.copyComplete();
    await harness.log.transaction(item.update(9, 'a part', undefined));
    await harness.applied();
    expect((await target.rows(harness, 'item')).toSorted(byText)).toEqual([
      ['1', 'one', null],
      ['2', 'two!', 'tab\t'],
    ]);
    expect(harness.missing).toEqual([{ table: 'item', keys: [['9']] }]);
  });

  test('a truncate empties the table, and what follows it stays', async () => {
    await using at = await stage(ITEM);
    const { harness, target } = at;
    const item = harness.table('item');
    await harness.follow(item);
    harness.start({ store: target.store(harness) });
    await harness.log.transaction(item.relation, item.insert(1, 'a', null), item.insert(2, 'b', null));
    await harness.log.transaction(item.insert(3, 'c', null), item.truncate(), item.insert(4, 'd', null));
    await harness.applied();
    expect(await target.rows(harness, 'item')).toEqual([['4', 'd', null]]);
  });

  test('a next start goes on where the target stands, and says the same of it', async () => {
    await using at = await stage(ITEM);
    const { harness, target } = at;
    const item = harness.table('item');
    await harness.follow(item);
    harness.start({ store: target.store(harness) });
    await harness.log.transaction(item.relation, item.insert(1, 'a', null));
    await harness.applied();
    const stands = harness.sink.applied()?.lsn;
    await harness.stop();
    const again = await target.store(harness).open({ onMissing: async () => undefined });
    expect([again.progress.mode, again.progress.appliedLsn]).toEqual(['consistent', stands]);
    expect(again.tables.map(({ to, state, changesApplied }) => [to.name, state, changesApplied])).toEqual([['item', 'following', 1]]);
    const { epoch } = again.progress;
    await again.close();
    harness.start({ store: target.store(harness) });
    await harness.log.transaction(item.update(1, 'b', null));
    await harness.applied();
    await harness.stop();
    const last = await target.store(harness).open({ onMissing: async () => undefined });
    expect(last.progress.epoch > epoch).toBe(true);
    await last.close();
    expect(await target.rows(harness, 'item')).toEqual([['1', 'b', null]]);
  });

  test('while one instance holds the target another is refused', async () => {
    await using at = await stage(ITEM);
    const { harness, target } = at;
    const first = await target.store(harness).open({ onMissing: async () => undefined });
    await expect(target.store(harness, 'another').open({ onMissing: async () => undefined })).rejects.toMatchObject({ code: 'CF-7003' });
    await first.close();
    await (await target.store(harness, 'another').open({ onMissing: async () => undefined })).close();
  });

  test('rows that were there before are not written over unless the file says so', async () => {
    await using at = await stage(ITEM);
    const { harness, target } = at;
    await target.fill(harness);
    await expect(target.store(harness).open({ onMissing: async () => undefined })).rejects.toMatchObject({ code: 'CF-5004' });
    expect(await target.rows(harness, 'item')).toEqual([['1', 'before', null]]);
  });

  test.each([31, 32, 33])(
    'a random history with many restarts leaves the source’s state, rows without a key counted (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      await using at = await stage(SOURCE_DDL);
      const { harness, target } = at;
      const tables = ['person', 'pair', 'loose'].map((name) => harness.table(name));
      await harness.follow(...tables);
      const source = new RandomSource(harness, random);
      await harness.log.transaction(...tables.map((table) => table.relation));
      harness.start({ store: target.store(harness) });
      for (let i = 0; i < 40; i++) {
        const many = Array.from({ length: 1 + random(4) }, () => source.transaction());
        await harness.log.transactions(many.filter((frames) => frames.length > 0));
        if (random(4) > 0) continue;
        // Wherever it is: what is on its way is left where it stands.
        await harness.stop();
        harness.start({ store: target.store(harness) });
      }
      await harness.applied();
      expect(harness.missing).toEqual([]);
      for (const [name, rows] of [
        ['person', [...source.person.values()]],
        ['pair', [...source.pair.values()]],
        ['loose', source.loose],
      ] as const)
        // prettier-ignore
        expect((await target.rows(harness, name)).toSorted(byText)).toEqual(rows.toSorted(byText));
    },
  );
});
