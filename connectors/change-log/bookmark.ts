/**
 * A log whose reading can be taken up again only where a bookmark says. Guarantee: a bookmark is a function of the log alone: whoever
 * wrote it, reading that starts from it brings every record from its offset on.
 */
import type { Bookmark } from '#schemas/bookmark.ts';

export interface Bookmarked {
  /**
   * Resolves once the log's start and end are known; to be awaited before `read`, which begins at `saved` when that lies below what is asked for.
   * @throws PipelineError CF-3001, CF-3002
   */
  prepare(saved: Bookmark | undefined): Promise<void>;
  /** The newest there is of the cursor that reads; a newer one is made by the next call. */
  bookmark(): Bookmark | undefined;
  /** Everything below it is applied, and it is durable on the target: what nobody can need any more may go. */
  release(bookmark: Bookmark): Promise<void>;
}
