/**
 * A raw log that processes share: one writes at a time, but a writer that was replaced may not know it yet. Guarantee: after `begin(epoch)`
 * resolved, whatever a writer of a lower epoch appends is void, and what the log tells of itself is all that is durable before it.
 */
import type { Lsn } from '#schemas/lsn.ts';
import type { Topic } from './change-log.ts';

export interface LastCommit {
  readonly commitLsn: Lsn;
  /** Exclusive. */
  readonly endLsn: Lsn;
}

export interface SharedLog extends Topic {
  /** Appends of this process belong to `epoch` from here on; reads the tail, so that `end` and `lastCommit` are exact. May be called again. */
  begin(epoch: number): Promise<void>;
  /** The last whole transaction in the log; undefined when it holds none. To be asked after `begin`. */
  lastCommit(): LastCommit | undefined;
  /** A relation's description (its pgoutput message) as of the log's end: the log may not hold it any more. */
  learn(frame: Buffer): void;
}

export function isShared(log: Topic): log is SharedLog {
  return 'begin' in log;
}
