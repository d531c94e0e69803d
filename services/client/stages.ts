/** The six stages of a migration by dual writes, as LaunchDarkly names them. Guarantee: total; each says who answers, who is written first, and what is compared. */
import type { Side } from '#schemas/flags/read-rules.ts';

export const DUAL_STAGES = ['off', 'dualwrite', 'shadow', 'live', 'rampdown', 'complete'] as const;
export type DualStage = (typeof DUAL_STAGES)[number];

export interface StageBehaviour {
  /** Who answers reads. */
  readonly answers: Side;
  /** Both are read, and compared. */
  readonly compares: boolean;
  /** In this order; the first one decides. */
  readonly writes: readonly [Side] | readonly [Side, Side];
}

const BEHAVIOUR: Readonly<Record<DualStage, StageBehaviour>> = {
  off: { answers: 'source', compares: false, writes: ['source'] },
  dualwrite: { answers: 'source', compares: false, writes: ['source', 'target'] },
  shadow: { answers: 'source', compares: true, writes: ['source', 'target'] },
  live: { answers: 'target', compares: true, writes: ['target', 'source'] },
  rampdown: { answers: 'target', compares: false, writes: ['target', 'source'] },
  complete: { answers: 'target', compares: false, writes: ['target'] },
};

export function stageBehaviour(stage: DualStage): StageBehaviour {
  return BEHAVIOUR[stage];
}
