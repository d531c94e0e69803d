/**
 * Up to where topics may be cut. Guarantee: a cut names only what lies below a place whose bookmark is written, so all of it is applied, and
 * below what reading from that bookmark needs; and whoever reads from a bookmark of up to `retainBytes` earlier finds everything, too.
 *
 * The places of before travel with the bookmark, a few of them, so that a sink that is started anew goes on where it was.
 */
import { branchOf, type Cut, type GatherPlace } from './bookmark.ts';

/** Places kept for one `retainBytes`: so much later than it could be, at most, a record goes. */
const STEPS = 4;

function cutOf({ bytes = 0, checkpoint, claims, mapped, raw }: GatherPlace): Cut {
  return {
    bytes,
    order: checkpoint,
    claims,
    mapped,
    raw: raw.filter((mark) => branchOf(mark.raw) === 0).map((mark) => [mark.raw, mark.taken]),
  };
}

/** With `place`, and without what no later place needs. */
export function trailOf(trail: readonly Cut[], place: GatherPlace, retainBytes: number): readonly Cut[] {
  const next = cutOf(place);
  const last = trail.at(-1);
  if (last !== undefined && next.bytes - last.bytes < retainBytes / STEPS) return trail;
  return [...trail.slice(Math.max(0, dueIn(trail, next.bytes - retainBytes))), next];
}

function dueIn(trail: readonly Cut[], bytes: number): number {
  return trail.findLastIndex((cut) => cut.bytes <= bytes);
}

/** Of a bookmark that is written; undefined: nothing yet. */
export function dueCut(place: GatherPlace, retainBytes: number): Cut | undefined {
  const { trail = [], bytes = 0 } = place;
  const due = trail[dueIn(trail, bytes - retainBytes)];
  if (due === undefined) return undefined;
  const now = cutOf(place);
  const raws = new Map(now.raw);
  // Whatever the place of before says: never more than what reading from this one leaves.
  return {
    bytes: due.bytes,
    order: due.order === undefined || now.order === undefined ? undefined : Math.min(due.order, now.order),
    claims: Math.min(due.claims, now.claims),
    mapped: Object.fromEntries(
      Object.entries(due.mapped).flatMap(([topic, offsets]) => {
        const here = now.mapped[topic];
        return here === undefined ? [] : [[topic, offsets.map((offset, partition) => Math.min(offset, here[partition] ?? 0))]];
      }),
    ),
    raw: due.raw.flatMap(([raw, offset]) => (raws.has(raw) ? [[raw, Math.min(offset, raws.get(raw)!)] as const] : [])),
  };
}
