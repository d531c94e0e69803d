/** The sink behind scatter, transformer and gather. All other scenarios of the sink pass that way too, with CROSSFADE_SINK_LOG=kafka. */
import { expect, test } from 'vitest';
import { claimsTopic, mappedTopic, orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { ColumnEntry } from '#schemas/config/migration-file.ts';
import type { GatherPlace } from '#connectors/change-log/kafka/order/bookmark.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';

const entry = (given: Partial<ColumnEntry>): ColumnEntry => ({ drop: false, line: 1, column: 1, ...given });

test('renamed, cast, dropped and filtered columns arrive as the file says', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({
    url: database.url,
    log: 'kafka',
    ddl: 'CREATE TABLE item (id int PRIMARY KEY, kind text, price text, note text); ALTER TABLE item REPLICA IDENTITY FULL',
    targetDdl: 'SET search_path TO new; DROP TABLE item; CREATE TABLE item (pk int PRIMARY KEY, price numeric(12,2), note text)',
    columns: { id: entry({ to: 'pk' }), price: entry({ cast: 'numeric(12,2)' }), kind: entry({ drop: true }) },
    where: { kind: { op: 'in', values: ['a'], line: 1, column: 1 } },
  });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(
    item.relation,
    item.insert(1, 'a', '1.5', 'one'),
    item.insert(2, 'b', '2', null),
    item.insert(3, 'a', '3', ''),
    item.insert(4, 'a', '4', null),
  );
  await harness.log.transaction(
    item.updateFrom([1, 'a', '1.5', 'one'], [5, 'a', '1.555', 'moved'], 'O'),
    item.updateFrom([2, 'b', '2', null], [2, 'a', '2', 'enters'], 'O'),
    item.updateFrom([3, 'a', '3', ''], [3, 'b', '3', 'leaves'], 'O'),
    item.deleteFull(4, 'a', '4', null),
  );
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY pk')).toEqual([
    ['2', '2.00', 'enters'],
    ['5', '1.56', 'moved'],
  ]);
});

test('a sink that starts again goes on from its bookmark, even when all that lies below was removed', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, log: 'kafka', ddl: 'CREATE TABLE item (id int PRIMARY KEY, name text)' });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert(0, 'first'));
  let rows = 1;
  let marks: (string | null)[][] = [];
  const deadline = Date.now() + 40_000;
  while (marks.length === 0 && Date.now() < deadline) {
    await harness.log.transaction(...Array.from({ length: 100 }, () => item.insert(rows++, 'more')));
    await harness.applied();
    marks = await harness.rows(`SELECT log_offset, bookmark FROM crossfade.bookmark`);
  }
  await harness.stop();
  const [[offset, text] = []] = marks;
  const place = JSON.parse(text!) as GatherPlace;
  expect(place.base).toBe(Number(offset));
  const cluster = harness.kafka!.client();
  await cluster.trim({ topic: orderTopic('sinktest'), partition: 0 }, place.order);
  await cluster.trim({ topic: claimsTopic('sinktest'), partition: 0 }, place.claims);
  const mapped = mappedTopic('sinktest', { schema: 'new', name: 'item' });
  for (const [partition, before] of place.mapped[mapped]!.entries()) await cluster.trim({ topic: mapped, partition }, before);
  harness.start();
  await harness.log.transaction(item.update(0, 'last'), item.insert(rows++, 'more'));
  await harness.applied();
  expect(await harness.rows(`SELECT count(*)::text, min(name) FROM new.item`)).toEqual([[String(rows), 'last']]);
});
