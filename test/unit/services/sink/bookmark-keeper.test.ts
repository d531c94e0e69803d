/** When what lies below a bookmark is let go of. */
import { expect, test } from 'vitest';
import type { Bookmark } from '#schemas/bookmark.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { BookmarkKeeper, REREAD_RECORDS } from '#services/sink/bookmark-keeper.ts';

const LANE = {};
const MARK: Bookmark = { offset: 1_000, place: '{}' };

/** A target that keeps the bookmark or not. @returns what was released */
async function released({
  isKept,
  isConsistent,
  committed,
}: {
  isKept: boolean;
  isConsistent: boolean;
  committed: number;
}): Promise<readonly number[]> {
  const offsets: number[] = [];
  const written = Promise.withResolvers<void>();
  const keeper = new BookmarkKeeper({
    bookmarks: {
      prepare: async () => undefined,
      bookmark: () => MARK,
      release: async ({ offset }) => void offsets.push(offset),
    },
    target: { writeBookmark: async () => isKept },
    between: async (act) => act().finally(written.resolve),
    onError: (error) => written.reject(error),
    logger: silentLogger,
  });
  keeper.committed(LANE, committed);
  keeper.tick([LANE], isConsistent);
  if (committed >= MARK.offset + REREAD_RECORDS) await written.promise;
  await new Promise((resolve) => setImmediate(resolve));
  return offsets;
}

const COMMITTED = MARK.offset + REREAD_RECORDS;

test('what lies below a bookmark is released once it is written', async () => {
  expect(await released({ isKept: true, isConsistent: true, committed: COMMITTED })).toEqual([MARK.offset]);
});

test('nothing is released while tables are copied, below what is not committed, or of a bookmark that the target did not take', async () => {
  expect(await released({ isKept: true, isConsistent: false, committed: COMMITTED })).toEqual([]);
  expect(await released({ isKept: true, isConsistent: true, committed: COMMITTED - 1 })).toEqual([]);
  expect(await released({ isKept: false, isConsistent: true, committed: COMMITTED })).toEqual([]);
});
