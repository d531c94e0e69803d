/** How much the mirror of the log may take. Guarantee: each bound that is met makes a table inconclusive, never equal. */
export interface MirrorLimits {
  /** Rows of one table whose digests are kept: 50 to 100 bytes each. */
  readonly rowsMax: number;
  /** A table that is filled when all of them together have more is not kept. */
  readonly allRowsMax: number;
  /** Of one table: rows with wide values, and open ones; some hundred bytes each. */
  readonly notesMax: number;
  /** Changes that can be taken back, of all tables: some 250 bytes each. A target that lags behind by more is not compared. */
  readonly changesMax: number;
  /** How long a comparison waits for the log to be read as far as a snapshot shows. */
  readonly waitMs: number;
  /** How long transactions that write a table are waited for when it is filled; then it is tried again. */
  readonly settleMs: number;
  /** From one time that tables are filled to the next: nothing is read meanwhile. */
  readonly refillMs: number;
  /** How often the positions of source and target are looked at. */
  readonly tendMs: number;
  /** Differences named one by one, per table; all are counted. */
  readonly samples: number;
}

export const MIRROR_LIMITS: MirrorLimits = {
  rowsMax: 1_000_000,
  allRowsMax: 4_000_000,
  notesMax: 100_000,
  changesMax: 200_000,
  waitMs: 30_000,
  settleMs: 5_000,
  refillMs: 10_000,
  tendMs: 1_000,
  samples: 100,
};
