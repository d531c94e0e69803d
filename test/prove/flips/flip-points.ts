/**
 * Where a process that flips can be struck. Guarantee (test/unit/prove/flip-points.test.ts): each failpoint of its code is struck by a proof here, or it is said
 * where else, and why not here.
 */
import { FAILPOINTS, type Failpoint } from '#schemas/test-hooks.ts';

/** Of the exchange of names: only a flip within one database comes by. */
export const SWAP_POINTS: readonly Failpoint[] = FAILPOINTS.filter((point) => point.startsWith('fence.swap'));

/** A file in which it is struck, and why not here. */
export const STRUCK_ELSEWHERE: Partial<Record<Failpoint, { readonly where: string; readonly because: string }>> = {
  'flip.settled': { where: 'test/prove/flips/run-kills.ts', because: "it is the recovery's, and struck there" },
  'state.written': { where: 'test/scenario/cutover/state-lease.test.ts', because: 'any change of the state passes it' },
  'state.committed': {
    where: 'test/scenario/cutover/state-lease.test.ts',
    because: 'behind each change of the state a flip has a point of its own',
  },
  'step.begun': { where: 'test/scenario/schema-steps.test.ts', because: 'a flip only asks whether the schema steps are done' },
  'step.run': { where: 'test/scenario/schema-steps.test.ts', because: 'a flip only asks whether the schema steps are done' },
  'step.undone': { where: 'test/scenario/schema-steps.test.ts', because: 'a flip only asks whether the schema steps are done' },
};

export const FLIP_POINTS: readonly Failpoint[] = FAILPOINTS.filter(
  (point) => /^(flip|fence)\./.test(point) && !SWAP_POINTS.includes(point) && STRUCK_ELSEWHERE[point] === undefined,
);
