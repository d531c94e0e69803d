/** Awkward tables copied in tiny chunks while two applications write them at random; the reader is stopped and started again on the way. */
import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { CopyWorld, type CopyWorldOptions } from '#test/support/copy-world.ts';
import { freshDatabase, type PostgresVersion, versions } from '#test/support/postgres.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { AWKWARD_SCHEMA, AWKWARD_TABLES, RandomWriter } from '#test/support/random-writer.ts';

const COPY = { parallel: 3, chunkRows: 40, chunkTargetMs: 1 };
const RESTARTS = 3;

async function copyUnderFire(version: PostgresVersion, seed: number, truncates: boolean): Promise<void> {
  await using database = await freshDatabase(version);
  await execute(database.url, AWKWARD_SCHEMA);
  const random = seeded(seed);
  const writers = [new RandomWriter(database.url, seeded(seed + 1), { truncates }), new RandomWriter(database.url, seeded(seed + 2))];
  const options: CopyWorldOptions = { url: database.url, copy: COPY, oneChunkBytes: 0 };
  let world = await CopyWorld.start(options);
  for (const writer of writers) writer.start();
  for (let i = 0; i < RESTARTS; i++) {
    const chunks = random.between(1, 25);
    await world.until(() => world.replica.chunks.length >= chunks || world.copier.complete);
    await world.stop();
    world = await CopyWorld.start({ ...options, directory: world.directory });
  }
  await using _ = world;
  await world.until(() => world.copier.complete);
  const written = writers[0]!.transactions;
  await world.until(() => writers[0]!.transactions >= written + 50);
  await Promise.all(writers.map((writer) => writer.stop()));
  await world.settle();
  for (const table of AWKWARD_TABLES) {
    const columns = world.columnsOf(table);
    expect(world.replica.dump(table, columns), `${table}, seed ${seed}`).toEqual(await world.sourceDump(table, columns));
  }
  expect(world.replica.drift).toBe(0);
}

test.each(versions(14))('PostgreSQL %i: every table arrives whole', async (version) =>
  copyUnderFire(version, seedFromEnvironment(), false),
);

test('every table arrives whole although some are truncated on the way', async () => copyUnderFire(18, seedFromEnvironment(), true));
