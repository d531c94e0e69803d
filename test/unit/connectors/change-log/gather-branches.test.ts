/** A table that gets, has and loses a second target while bookmarks of before are read. */
import { expect, test } from 'vitest';
import { rawKey } from '#connectors/change-log/kafka/order/bookmark.ts';
import { Branches, eachBranch, takenOnAll } from '#connectors/change-log/kafka/order/branches.ts';
import { FRAME, partsOf } from '#schemas/frame/frame.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import { fileOf, NARROW, next, release, WHOLE, World } from '#test/support/changed-file-world.ts';
import { insert } from '#test/support/frames.ts';
import { recordsOf } from '#test/support/log-records.ts';

const SECOND: TableMapping = { ...NARROW, to: { schema: 'new', name: 'second' } };

/** Rows of each target in a batch, by its place in the file's list. */
function rowsOf(frames: readonly Buffer[] | undefined): readonly Buffer[][] {
  const rows: Buffer[][] = [[], []];
  for (const frame of frames ?? []) if (frame[0] === FRAME.parts) for (const { pair, part } of partsOf(frame)) rows[pair]!.push(part);
  return rows;
}

test.each([false, true])('a table that gets another target goes on to both where it was, its topics cut: %s', async (isCut) => {
  const world = new World();
  const stopOld = world.transformer(fileOf(WHOLE));
  await world.begin();
  await world.write('1', '2', '3');
  const old = world.gather(fileOf(WHOLE));
  await old.prepare(undefined);
  await next(old, 0);
  const bookmark = isCut ? await release(old, 6) : old.bookmark()!;
  await stopOld();
  const frames = await world.write('4', '5');
  // Its place in the list, and so the number of its branch, is another now.
  world.transformer(fileOf(SECOND, WHOLE));
  const gather = world.gather(fileOf(SECOND, WHOLE));
  await gather.prepare(bookmark);
  const both = await next(gather, bookmark.offset);
  expect(rowsOf(both)).toEqual([['4', '5'].map((value) => insert(101, [value, value])), frames.slice(2, 4)]);
  expect(both).toHaveLength(frames.length);
  await world.close();
});

test('a bookmark made under two targets is good for one of them, and for two again', async () => {
  const world = new World();
  const stopBoth = world.transformer(fileOf(SECOND, WHOLE));
  await world.begin();
  await world.write('1', '2', '3');
  const both = world.gather(fileOf(SECOND, WHOLE));
  await both.prepare(undefined);
  await next(both, 0);
  await stopBoth();
  const frames = await world.write('4', '5');
  world.transformer(fileOf(WHOLE));
  const one = world.gather(fileOf(WHOLE));
  await one.prepare(both.bookmark());
  expect(await next(one, 6)).toEqual(frames);
  const more = await world.write('6');
  const mark = one.bookmark()!;
  world.transformer(fileOf(SECOND, WHOLE));
  const again = world.gather(fileOf(SECOND, WHOLE));
  await again.prepare(mark);
  expect(rowsOf(await next(again, mark.offset))).toEqual([[insert(101, ['6', '6'])], [more[2]]]);
  await world.close();
});

test('a target that goes takes its claims along: what its transformers had mapped ahead counts for no other', async () => {
  const filter = { conditions: [{ column: 'note', op: 'in' as const, values: ['1', '3'] }] };
  const filtered = { ...WHOLE, filter };
  const world = new World();
  const stopAhead = world.transformer(fileOf(SECOND));
  await world.begin();
  const frames = await world.write('1', '2', '3');
  await world.claimed(SECOND, 3);
  await stopAhead();
  const both = world.gather(fileOf(SECOND, filtered));
  await both.prepare(undefined);
  const waiting = both.read(0, 0);
  expect(await waiting.poll()).toBeUndefined();
  const bookmark = both.bookmark();
  await waiting.close();
  const one = world.gather(fileOf(filtered));
  await one.prepare(bookmark);
  const cursor = one.read(0, 0);
  expect(await cursor.poll()).toBeUndefined();
  world.transformer(fileOf(filtered));
  const batch = await cursor.next(AbortSignal.timeout(5_000));
  expect(batch && recordsOf(batch)).toEqual(frames.filter((_, i) => i !== 3));
  await cursor.close();
  await world.close();
});

test('a filter of one target leaves the other one’s rows alone', async () => {
  const filter = { conditions: [{ column: 'note', op: 'in' as const, values: ['1'] }] };
  const world = new World();
  world.transformer(fileOf(SECOND, { ...WHOLE, filter }));
  await world.begin();
  await world.write('1', '2');
  const gather = world.gather(fileOf(SECOND, { ...WHOLE, filter }));
  await gather.prepare(undefined);
  expect(rowsOf(await next(gather, 0)).map((rows) => rows.length)).toEqual([2, 1]);
  await world.close();
});

test('what a bookmark says is taken is taken on each branch; rows of a topic that the order has not named yet are of none', () => {
  const mark = { claimed: 9, ends: [] };
  const keysOf = ({ topic, partition }: { readonly topic: number; readonly partition: number }) => {
    if (topic !== 1) throw new Error(`topic ${topic} is not named`);
    return eachBranch(topic, partition, 2);
  };
  const marks = [
    { ...mark, raw: rawKey(1, 4, 0), taken: 5 },
    { ...mark, raw: rawKey(1, 4, 1), taken: 5 },
    { ...mark, raw: rawKey(3, 0, 0), taken: 0 },
  ];
  expect(takenOnAll(marks, keysOf)).toEqual([
    [rawKey(1, 4, 0), 5],
    [rawKey(1, 4, 1), 5],
  ]);
});

test('marks go by the mapping, whatever number it had: one that is new begins with what was taken, one that is gone leaves nothing', () => {
  const THIRD: TableMapping = { ...NARROW, to: { schema: 'new', name: 'third' } };
  const topic = { t: 'topic', index: 1, topic: 'm.public.plain', schema: 'public', table: 'plain', partitions: 2 } as const;
  const ends = [['m.mapped.new.plain', 0, 9]] as const;
  const raw = [
    { raw: rawKey(1, 0, 0), taken: 5, claimed: 7, ends: [] },
    { raw: rawKey(1, 0, 1), taken: 5, claimed: 8, ends },
    { raw: rawKey(1, 1, 1), taken: 0, claimed: 3, ends: [] },
    // The order has not named it yet.
    { raw: rawKey(2, 0, 0), taken: 0, claimed: 4, ends: [] },
  ];
  const marked = { mappings: [SECOND, WHOLE].map(tableTag), branches: [0, 1], topics: [topic], raw };
  const renumbered = (...tables: readonly TableMapping[]) => new Branches(fileOf(...tables)).renumbered(marked);
  expect(renumbered(SECOND, WHOLE)).toEqual(expect.arrayContaining(raw));
  const unnamed = raw[3];
  expect(renumbered(WHOLE)).toEqual([
    { raw: rawKey(1, 0, 0), taken: 5, claimed: 8, ends },
    { raw: rawKey(1, 1, 0), taken: 0, claimed: 3, ends: [] },
    unnamed,
  ]);
  expect(renumbered(WHOLE, THIRD)).toEqual([
    { raw: rawKey(1, 0, 0), taken: 5, claimed: 8, ends },
    { raw: rawKey(1, 0, 1), taken: 5, claimed: 0, ends: [] },
    { raw: rawKey(1, 1, 0), taken: 0, claimed: 3, ends: [] },
    { raw: rawKey(1, 1, 1), taken: 0, claimed: 0, ends: [] },
    unnamed,
  ]);
});
