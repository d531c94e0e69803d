/** Each rule of design §2 against its way to lose data: with the guard on the log gives the source's rows, with it off it does not. */
import { afterEach, describe, expect, test } from 'vitest';
import { installTestHooks, type Guard } from '#schemas/test-hooks.ts';
import type { ChunkWork } from '#services/reader/copy/copy-plan.ts';
import { execute, openSession } from '#test/support/application.ts';
import { CopyWorld, type CopyWorldOptions } from '#test/support/copy-world.ts';
import { freshDatabase } from '#test/support/postgres.ts';

afterEach(() => installTestHooks({}));

/** Statements that wait for a chunk's lock: they end after it. */
const background: Promise<unknown>[] = [];

interface Outcome {
  readonly replica: readonly string[];
  readonly source: readonly string[];
}

/** Runs the scenario with the guard on, then with it off. */
function guardedBy(guard: Guard, scenario: () => Promise<Outcome>): void {
  test('the log gives the rows of the source', async () => {
    const { replica, source } = await scenario();
    expect(replica).toEqual(source);
  });
  test(`without the guard "${guard}" it does not`, async () => {
    installTestHooks({ disabledGuards: [guard] });
    const { replica, source } = await scenario();
    expect(replica).not.toEqual(source);
  });
}

const TOASTED = `CREATE TABLE doc (id int PRIMARY KEY, n int, body text);
  ALTER TABLE doc ALTER COLUMN body SET STORAGE EXTERNAL;
  INSERT INTO doc SELECT i, 0, repeat(i::text, 4000) FROM generate_series(1, 20) i`;

/** Copies the tables that `setup` makes, with something happening once at a moment of the table's first chunk. */
async function copyWith(
  setup: string,
  table: string,
  moment: { readonly at: 'beforeRead' | 'beforeHigh'; readonly act: (url: string) => Promise<unknown> },
): Promise<Outcome> {
  await using database = await freshDatabase(18);
  await execute(database.url, setup);
  let done = false;
  const act = async ({ chunk }: ChunkWork): Promise<void> => {
    if (done || chunk.kind === 'keys') return;
    done = true;
    await moment.act(database.url);
  };
  const options: CopyWorldOptions = { url: database.url, interludes: { [moment.at]: act } };
  await using world = await CopyWorld.start(options);
  await world.settle();
  await Promise.all(background);
  await world.copier.checkCatalog();
  await world.settle();
  const columns = world.columnsOf(table);
  return { replica: world.replica.dump(table, columns), source: await world.sourceDump(table, columns) };
}

describe('a row updated in full inside a chunk window', () => {
  guardedBy('window', () =>
    copyWith(TOASTED, 'doc', { at: 'beforeRead', act: (url) => execute(url, `UPDATE doc SET n = 7, body = 'new' WHERE id = 3`) }),
  );
});

describe('a row updated with unchanged TOAST inside a chunk window', () => {
  guardedBy('merge', () =>
    copyWith(TOASTED, 'doc', {
      at: 'beforeRead',
      act: (url) => execute(url, 'UPDATE doc SET n = 7 WHERE id = 3', 'UPDATE doc SET n = 8 WHERE id < 5'),
    }),
  );
});

describe('a key changed with unchanged TOAST inside a chunk window', () => {
  guardedBy('key-recopy', () =>
    copyWith(TOASTED, 'doc', { at: 'beforeRead', act: (url) => execute(url, 'UPDATE doc SET id = 1003 WHERE id = 3') }),
  );
});

describe('a table truncated inside a chunk window', () => {
  guardedBy('truncate-window', () =>
    copyWith(TOASTED, 'doc', { at: 'beforeHigh', act: (url) => execute(url, 'TRUNCATE doc', `INSERT INTO doc VALUES (3, 1, 'after')`) }),
  );
});

describe('a column type changed between snapshot and read', () => {
  guardedBy('shape', () =>
    copyWith(
      'CREATE TABLE price (id int PRIMARY KEY, amount numeric(10,2)); INSERT INTO price SELECT i, i + 0.25 FROM generate_series(1, 50) i',
      'price',
      {
        at: 'beforeRead',
        act: async (url) => {
          const altering = execute(url, 'ALTER TABLE price ALTER COLUMN amount TYPE numeric(10,1)');
          await using session = await openSession(url);
          const waits = async (): Promise<void> => {
            while ((await session.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'price'::regclass`)).length === 0);
          };
          background.push(altering);
          await Promise.race([altering, waits()]);
        },
      },
    ),
  );
});

describe('a leaf detached after the copy', () => {
  guardedBy('partition-watch', async () => {
    await using database = await freshDatabase(18);
    await execute(
      database.url,
      `CREATE TABLE reading (day date, id int, v int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
       CREATE TABLE reading_1 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
       CREATE TABLE reading_2 PARTITION OF reading FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
       INSERT INTO reading SELECT '2026-01-01'::date + i, i, i FROM generate_series(0, 58) i`,
    );
    await using world = await CopyWorld.start({ url: database.url });
    await world.settle();
    await execute(database.url, 'ALTER TABLE reading DETACH PARTITION reading_1');
    await world.copier.checkCatalog();
    await world.settle();
    const columns = world.columnsOf('reading');
    return { replica: world.replica.dump('reading', columns), source: await world.sourceDump('reading', columns) };
  });
});
