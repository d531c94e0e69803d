/**
 * Frames of a chunk that is a whole table (no key, or a leaf went away): truncate, its rows, then again the window's changes that its
 * snapshot did not see. Guarantee: the table's state after them is its state at the high watermark, whatever it was before.
 */
import { isVisible, widenXid } from '#schemas/snapshot.ts';
import type { Attempt } from './attempt.ts';
import { rowsFrame, type ChunkIdentity, type Piece } from './chunk-frames.ts';

export function* replaceFrames(id: ChunkIdentity, attempt: Attempt): Generator<readonly Buffer[]> {
  const rows = attempt.rows!;
  const unseen = attempt.kept.filter(({ xid }) => !isVisible(rows.snapshot, widenXid(xid, rows.snapshot.xmax)));
  // A truncate that the snapshot saw is in the rows already; one that it did not see takes rows and earlier changes with it.
  const truncated = unseen.findLastIndex(({ message }) => message === undefined);
  const pieces: Iterable<Piece> = truncated >= 0 ? [] : rows.spool;
  let first = true;
  let held: Piece | undefined;
  const frame = (piece: Piece, last: boolean): readonly Buffer[] => {
    const made = rowsFrame(id, { parts: piece.rows > 0 ? [piece.bytes] : [], rows: piece.rows }, { truncate: first, last });
    first = false;
    return made;
  };
  for (const piece of pieces) {
    if (held) yield frame(held, false);
    held = piece;
  }
  yield frame(held ?? { bytes: Buffer.alloc(0), rows: 0 }, true);
  for (const { message } of unseen.slice(truncated + 1)) if (message) yield [message];
}
