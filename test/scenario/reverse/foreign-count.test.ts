/** What others wrote is counted once, however often it is read: the stream begins again before what was left out. */
import { expect, test } from 'vitest';
import { countForeignWrites, readForeignWrites } from '#connectors/postgres/foreign-writes.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { connect } from '#connectors/postgres/session.ts';
import { freshDatabase } from '#test/support/postgres.ts';

test('transactions that come again after a restart count no second time, table by table', async () => {
  await using database = await freshDatabase(18);
  await using stack = new AsyncDisposableStack();
  const client = stack.adopt(await connect(database.url, { applicationName: 'test', role: 'target' }), async (open) => open.end());
  await ensureSchema(client);
  const stream = [
    { commitLsn: '0/10', changes: new Map([['public.a', 2]]) },
    {
      commitLsn: '0/20',
      changes: new Map([
        ['public.a', 1],
        ['public.b', 5],
      ]),
    },
    { commitLsn: '0/30', changes: new Map([['public.b', 1]]) },
  ];
  // Ended behind the second, begun again at the first, and once more behind the last.
  for (const transaction of [...stream.slice(0, 2), ...stream, ...stream]) await countForeignWrites(client, 'shop', transaction);
  expect(await readForeignWrites(client, 'shop')).toMatchObject([
    { table: 'public.a', changes: 3 },
    { table: 'public.b', changes: 6 },
  ]);
});
