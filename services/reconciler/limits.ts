/** How much a comparison may take. Guarantee: each bound that is met makes a table inconclusive, never equal. */
import type { CollectLimits } from './change-collector.ts';

export interface VerifyLimits extends CollectLimits {
  /** How long the target may take to reach the source's snapshot, which stays open meanwhile. */
  readonly waitMs: number;
  /** Of it, how long a target that does not move is waited for while nobody reads the source. */
  readonly stallMs: number;
  /** How long transactions that were writing at the start are waited for. */
  readonly settleMs: number;
  /** Messages of the stream read for one alignment. */
  readonly streamMessages: number;
  /** Alignments tried before a table stays inconclusive. */
  readonly attempts: number;
  /** Tables compared at the same time, each with one session per server. */
  readonly parallel: number;
  /** Differences named one by one, per table; all are counted. */
  readonly samples: number;
}

export const DEFAULT_LIMITS: VerifyLimits = {
  waitMs: 60_000,
  stallMs: 10_000,
  settleMs: 10_000,
  streamMessages: 2_000_000,
  changesPerTable: 100_000,
  bytes: 64 << 20,
  attempts: 3,
  parallel: 2,
  samples: 1_000,
};
