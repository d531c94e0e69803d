/** Keys of a re-copy as an operator may spell them: the source knows what is meant, the window of a chunk only what stands there. */
import { expect, test } from 'vitest';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { execute } from '#test/support/application.ts';
import { CopyWorld } from '#test/support/copy-world.ts';
import { freshDatabase } from '#test/support/postgres.ts';

async function expectEqual(world: CopyWorld): Promise<void> {
  for (const table of ['item', 'doc']) {
    const columns = world.columnsOf(table);
    expect(world.replica.dump(table, columns), table).toEqual(await world.sourceDump(table, columns));
  }
}

test('what is written while keys are copied again stays, however the keys are spelled', async () => {
  await using database = await freshDatabase();
  const id = 'abcdef00-0000-4000-8000-00000000000f';
  await execute(
    database.url,
    `CREATE TABLE item (id int PRIMARY KEY, v text); INSERT INTO item SELECT i, 'v' || i FROM generate_series(1, 9) i; CREATE TABLE doc (id uuid PRIMARY KEY, v text); INSERT INTO doc VALUES ('${id}', 'old')`,
  );
  let writes = [
    `UPDATE public.item SET v = 'new' WHERE id = 7; INSERT INTO public.item VALUES (1000, 'new'); UPDATE public.doc SET v = 'new'`,
  ];
  const beforeHigh = async (): Promise<void> => {
    const now = writes;
    writes = [];
    await execute(database.url, ...now);
  };
  const world = await CopyWorld.start({
    url: database.url,
    interludes: { beforeHigh: async ({ chunk }) => (chunk.kind === 'keys' ? beforeHigh() : undefined) },
  });
  await using _ = world;
  const ask = async (request: RecopyRequest): Promise<unknown> => world.copier.requestRecopy(await world.copier.checkRecopy(request));
  await world.settle();
  await ask({ kind: 'keys', schema: 'public', table: 'item', keys: [['007'], ['1000 ']], reason: 'test' });
  await world.settle();
  await expectEqual(world);
  writes = [`UPDATE public.doc SET v = 'newer'`];
  await ask({ kind: 'keys', schema: 'public', table: 'doc', keys: [[id.toUpperCase()]], reason: 'test' });
  await world.settle();
  await expectEqual(world);
});
