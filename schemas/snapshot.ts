/**
 * PostgreSQL snapshots and transaction ids. Guarantee: `isVisible` says what a query under that snapshot sees of a committed
 * top-level transaction. Only for snapshots of a primary: a standby's running list is not complete.
 */
import { invariant, PipelineError } from './errors.ts';

/** Transaction ids are 64 bits wide here (exact as numbers up to 2^53, some two million wraparounds). */
export interface Snapshot {
  /** Every id below it is finished. */
  readonly xmin: number;
  /** No id at or above it was given out. */
  readonly xmax: number;
  /** Running ones in between, top level only. */
  readonly running: ReadonlySet<number>;
}

/** Parses `pg_current_snapshot()::text`: `xmin:xmax:xip,xip`. */
export function parseSnapshot(text: string): Snapshot {
  const [xmin, xmax, running] = text.split(':');
  if (xmin === undefined || xmax === undefined || running === undefined)
    throw new PipelineError('CF-2007', `not a snapshot: ${JSON.stringify(text)}`);
  return { xmin: toXid(xmin), xmax: toXid(xmax), running: new Set(running === '' ? [] : running.split(',').map(toXid)) };
}

export function formatSnapshot(snapshot: Snapshot): string {
  return `${snapshot.xmin}:${snapshot.xmax}:${[...snapshot.running].join(',')}`;
}

/** Whether a committed transaction is seen under the snapshot. */
export function isVisible(snapshot: Snapshot, xid: number): boolean {
  if (xid < snapshot.xmin) return true;
  return xid < snapshot.xmax && !snapshot.running.has(xid);
}

/** The 64-bit id nearest to `xmax` whose low 32 bits are `xid`: a live transaction is never further away than 2^31. */
export function widenXid(xid: number, xmax: number): number {
  return xmax - (((xmax % 4_294_967_296) - xid) | 0);
}

function toXid(text: string): number {
  const xid = Number(text);
  invariant(Number.isSafeInteger(xid) && xid >= 0, `a transaction id of 64 bits: ${text}`);
  return xid;
}
