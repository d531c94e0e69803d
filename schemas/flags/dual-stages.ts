/**
 * The six stages of a migration by dual writes, as LaunchDarkly names them. Guarantee: total; each says who answers, who is written first, and what is
 * compared; and the store that decides is always the one that serves: of what an operator set and what a flip decided, the flip has the last word, so
 * nothing has to be set at the moment of a flip.
 */

/** As read-rules.ts has it, which this file is a part of. */
type Side = 'source' | 'target';

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

const LAST_OF_SOURCE: DualStage = 'shadow';
const FIRST_OF_TARGET: DualStage = 'live';

/** The stage that holds, of the one that was set: a cut-over makes shadow live, a rollback makes live shadow. */
export function stageThatHolds(set: DualStage, serves: Side): DualStage {
  if (BEHAVIOUR[set].answers === serves) return set;
  return serves === 'source' ? LAST_OF_SOURCE : FIRST_OF_TARGET;
}

export type StageMove = 'none' | 'forward' | 'back' | 'cutover' | 'rollback' | 'leap';

/** `cutover` and `rollback`: only these make it. */
export function moveBetween(from: DualStage, to: DualStage): StageMove {
  const by = DUAL_STAGES.indexOf(to) - DUAL_STAGES.indexOf(from);
  if (by === 0) return 'none';
  if (Math.abs(by) > 1) return 'leap';
  if (from === LAST_OF_SOURCE && to === FIRST_OF_TARGET) return 'cutover';
  if (from === FIRST_OF_TARGET && to === LAST_OF_SOURCE) return 'rollback';
  return by > 0 ? 'forward' : 'back';
}
