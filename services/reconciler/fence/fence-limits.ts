/** How much the comparison at the fence may take. Guarantee: each bound that is met makes a table inconclusive, never equal. */
export interface FenceLimits {
  /** Changed rows of a table that are kept by their key. */
  readonly keysPerTable: number;
  /** A table that has to be compared whole at the fence has no more rows than this on either side: some 0.1 s. */
  readonly wholeRows: number;
  /** How long the stream may take to bring what the source has written. */
  readonly reachMs: number;
  /** How long the target may take to show where the stream begins. */
  readonly appliedMs: number;
  /** Somebody who holds a table is waited for this long, at the fence too. */
  readonly lockMs: number;
  /** Tables read at the same time, each with one session per server. */
  readonly parallel: number;
  /** Differences named one by one, per table; all are counted. */
  readonly samples: number;
  /** While the tables are compared whole, rows that changed are compared this often, so that few are left. */
  readonly refreshEveryMs: number;
}

export const FENCE_LIMITS: FenceLimits = {
  keysPerTable: 200_000,
  wholeRows: 50_000,
  reachMs: 5_000,
  appliedMs: 60_000,
  lockMs: 500,
  parallel: 2,
  samples: 1_000,
  refreshEveryMs: 2_000,
};
