/** How long a flip may take where. Guarantee: what blocks writers is bounded twice, step by step and as a whole. */
export interface FlipSettings {
  /** Waiting for the fence's locks; writers wait behind it. */
  readonly lockTimeoutMs: number;
  /** Tries to get the locks, with a back-off between them. */
  readonly attempts: number;
  readonly drainTimeoutMs: number;
  readonly compareTimeoutMs: number;
  /** From the request for the locks to the decision. */
  readonly blockBudgetMs: number;
  /** What must be done after the decision is tried for this long here; then whoever runs `up` goes on. */
  readonly finishTimeoutMs: number;
  /** From the first cut-over or drill on nobody but our sinks may write to the target, though nothing was decided yet. */
  readonly fencesTarget: boolean;
}

export const DEFAULT_FLIP_SETTINGS: FlipSettings = {
  lockTimeoutMs: 1_000,
  attempts: 5,
  drainTimeoutMs: 5_000,
  compareTimeoutMs: 3_000,
  blockBudgetMs: 10_000,
  finishTimeoutMs: 60_000,
  fencesTarget: false,
};
