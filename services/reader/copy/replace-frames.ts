/**
 * Frames of a chunk that is a whole table (no key, or a leaf went away): truncate, its rows, then again the window's changes that its
 * snapshot did not see. Guarantee: the table's state after them is its state at the high watermark, whatever it was before.
 */
import { isVisible, widenXid, type Snapshot } from '#schemas/snapshot.ts';
import { rowsFrame, type ChunkIdentity, type Piece } from './chunk-frames.ts';
import type { KeptChange } from './kept-changes.ts';

export interface ReplacingRows {
  readonly rows: Iterable<Piece>;
  readonly snapshot: Snapshot;
  readonly kept: Iterable<KeptChange>;
}

export function* replaceFrames(id: ChunkIdentity, { rows, snapshot, kept }: ReplacingRows): Generator<readonly Buffer[]> {
  const isUnseen = ({ xid }: KeptChange): boolean => !isVisible(snapshot, widenXid(xid, snapshot.xmax));
  // A truncate that the snapshot saw is in the rows already; one that it did not see takes rows and earlier changes with it.
  let truncates = 0;
  for (const change of kept) if (change.message === undefined && isUnseen(change)) truncates++;
  let first = true;
  let held: Piece | undefined;
  const frame = (piece: Piece, last: boolean): readonly Buffer[] => {
    const made = rowsFrame(id, { parts: piece.rows > 0 ? [piece.bytes] : [], rows: piece.rows }, { truncate: first, last });
    first = false;
    return made;
  };
  for (const piece of truncates > 0 ? [] : rows) {
    if (held) yield frame(held, false);
    held = piece;
  }
  yield frame(held ?? { bytes: Buffer.alloc(0), rows: 0 }, true);
  for (const change of kept) {
    if (!isUnseen(change)) continue;
    if (change.message === undefined) truncates--;
    else if (truncates === 0) yield [change.message];
  }
}
