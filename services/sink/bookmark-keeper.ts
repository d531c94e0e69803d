/**
 * Keeps on the target where the log's reading can begin again. Guarantee: a bookmark is written only when everything below it, and as
 * much again as a session reads twice, is committed by every lane; so the next session always finds one that it can use, if there is any.
 * What lies below it is released only once it is written, and not while tables are copied.
 */
import type { Bookmarked } from '#connectors/change-log/bookmark.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import { messageOf } from '#schemas/errors.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Target } from '#connectors/target/target.ts';

/** What a session reads again below where it goes on. */
export const REREAD_RECORDS = 256;
const EVERY_MS = 5_000;
const CANDIDATES_MAX = 16;

export interface BookmarkKeeperOptions {
  /** Undefined: the log's reading can begin anywhere. */
  readonly bookmarks: Bookmarked | undefined;
  readonly target: Pick<Target, 'writeBookmark'>;
  /** Runs `act` between two rounds, when the target's own session is free. */
  readonly between: (act: () => Promise<void>) => Promise<void>;
  readonly onError: (error: unknown) => void;
  readonly logger: Logger;
}

export class BookmarkKeeper {
  readonly #options: BookmarkKeeperOptions;
  /** Ascending; the oldest are the first that may be written. */
  #candidates: Bookmark[] = [];
  /** First record that a lane has not committed, once it has committed anything. */
  readonly #committed = new WeakMap<object, Offset>();
  #takenAt = -Infinity;
  #writing = false;
  #releasing = false;
  #unreleased: string | undefined;

  constructor(options: BookmarkKeeperOptions) {
    this.#options = options;
  }

  committed(lane: object, offset: Offset): void {
    this.#committed.set(lane, offset);
  }

  /** @param isConsistent no table is copied for the first time any more */
  tick(lanes: readonly object[], isConsistent: boolean): void {
    const { bookmarks } = this.#options;
    const now = performance.now();
    if (bookmarks === undefined || lanes.length === 0) return;
    if (now - this.#takenAt >= EVERY_MS) {
      this.#takenAt = now;
      this.#add(bookmarks.bookmark());
    }
    const committed = Math.min(...lanes.map((lane) => this.#committed.get(lane) ?? 0));
    const due = this.#candidates.findLast(({ offset }) => offset + REREAD_RECORDS <= committed);
    if (due === undefined || this.#writing) return;
    this.#candidates = this.#candidates.filter(({ offset }) => offset > due.offset);
    void this.#write(due, isConsistent);
  }

  #add(bookmark: Bookmark | undefined): void {
    if (bookmark === undefined || bookmark.offset <= (this.#candidates.at(-1)?.offset ?? 0)) return;
    if (this.#candidates.length === CANDIDATES_MAX) this.#candidates.pop();
    this.#candidates.push(bookmark);
  }

  async #write(bookmark: Bookmark, isConsistent: boolean): Promise<void> {
    const { target, between } = this.#options;
    this.#writing = true;
    try {
      let isWritten = false;
      await between(async () => void (isWritten = await target.writeBookmark(bookmark)));
      if (isWritten && isConsistent) void this.#release(bookmark);
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#writing = false;
    }
  }

  async #release(bookmark: Bookmark): Promise<void> {
    if (this.#releasing) return;
    this.#releasing = true;
    try {
      await this.#options.bookmarks?.release(bookmark);
      this.#unreleased = undefined;
    } catch (error) {
      // With each bookmark it is tried again, and said once.
      if (messageOf(error) !== this.#unreleased)
        this.#options.logger.warn({ error: messageOf(error) }, 'what is applied could not be removed from the topics; it is tried again');
      this.#unreleased = messageOf(error);
    } finally {
      this.#releasing = false;
    }
  }
}
