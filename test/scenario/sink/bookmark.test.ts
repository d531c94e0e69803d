import { expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { writeBookmark } from '#connectors/target/postgres/bookmark.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { startPostgres } from '#test/support/postgres.ts';

test('a bookmark, and every commit before it, survives a crash of the target that commits without waiting for its disk', async () => {
  // What is committed without waiting is not written for ten seconds.
  await using server = await startPostgres({ version: 18, settings: { wal_writer_delay: '10s', synchronous_commit: 'off' } });
  const url = await server.createDatabase('target');
  const options = { applicationName: 'test', role: 'target' } as const;
  const client = await connect(url, options);
  await ensureSchema(client);
  await client.query(
    `INSERT INTO crossfade.progress (name, epoch, mode, mapping_hash, instance, backends) VALUES ('m', 1, 'consistent', 'h', 'i', '{}')`,
  );
  await client.query('CHECKPOINT');
  await client.query('CREATE TABLE public.item (id int)');
  await client.query('INSERT INTO public.item VALUES (1)');
  expect(await writeBookmark(client, 'm', { offset: 7, place: '{}' })).toBe(true);
  expect(await writeBookmark(client, 'm', { offset: 7, place: '{}' })).toBe(false);
  client.on('error', () => undefined);
  await server.kill();
  await server.start();
  const after = await connect(url, options);
  const { rows } = await after.query(
    'SELECT (SELECT count(*) FROM public.item) AS rows, (SELECT log_offset FROM crossfade.bookmark) AS bookmark',
  );
  await after.end();
  expect(rows).toEqual([{ rows: '1', bookmark: '7' }]);
});
