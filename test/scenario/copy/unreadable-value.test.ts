import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { CopyWorld } from '#test/support/copy-world.ts';
import { sharedServer } from '#test/support/postgres.ts';

test('a table with a character that UTF-8 does not have is held, and the others are copied', async () => {
  const server = await sharedServer(18);
  await execute(server.url(), `CREATE DATABASE western ENCODING 'WIN1252' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`);
  const url = server.url('western');
  await execute(
    url,
    `CREATE TABLE bad (id int PRIMARY KEY, v text); INSERT INTO bad VALUES (1, 'é'), (2, chr(129));
     CREATE TABLE good (id int PRIMARY KEY, v text); INSERT INTO good VALUES (1, 'é €')`,
  );
  await using world = await CopyWorld.start({ url });
  await world.settle();
  expect(world.copier.progress().map(({ table, state, error }) => [table, state, error?.includes('0x81')])).toEqual([
    ['bad', 'held', true],
    ['good', 'following', undefined],
  ]);
  expect(world.replica.dump('good', ['id', 'v'])).toEqual([JSON.stringify(['1', 'é €'])]);
});
