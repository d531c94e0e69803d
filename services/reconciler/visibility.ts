/**
 * Which transactions a snapshot sees. Guarantee: the answer is the server's own rule, for top-level transaction ids as pgoutput's
 * Begin carries them (pg_current_snapshot lists no subtransactions).
 */
import { invariant } from '#schemas/errors.ts';

export interface Visibility {
  readonly xmin: bigint;
  readonly xmax: bigint;
  readonly running: ReadonlySet<bigint>;
}

/** Reads `xmin:xmax:xip,xip,…`. */
export function parseVisibility(triple: string): Visibility {
  const match = /^(\d+):(\d+):([\d,]*)$/.exec(triple);
  invariant(match, 'a snapshot is xmin:xmax:xip');
  const [, xmin, xmax, xip] = match;
  return { xmin: BigInt(xmin!), xmax: BigInt(xmax!), running: new Set(xip === '' ? [] : xip!.split(',').map(BigInt)) };
}

/** @param xid 32-bit, as the stream has it; it lies within 2^31 of the snapshot's xmax. */
export function isVisible(snapshot: Visibility, xid: number): boolean {
  const full = snapshot.xmax + BigInt.asIntN(32, BigInt(xid) - snapshot.xmax);
  return full < snapshot.xmin || (full < snapshot.xmax && !snapshot.running.has(full));
}
