/**
 * What an earlier process left. Guarantee: an act that was not decided is void for good before it is called so, and one that was decided is
 * finished; the journal of the side that was to be fenced says which, and nothing else does.
 */
import { failpoint } from '#schemas/test-hooks.ts';
import { finishFlip } from './finish.ts';
import { type Act, type FlipPorts, flipTo, otherSide, type Tenure } from './ports.ts';
import type { FlipSettings } from './settings.ts';
import type { StepLog } from './step-log.ts';

export interface Recovery {
  readonly act: Act;
  readonly outcome: 'flipped' | 'aborted';
}

export interface RecoverParts {
  readonly ports: FlipPorts;
  readonly settings: FlipSettings;
  readonly tenure: Tenure;
  readonly log: StepLog;
}

/** Undefined: there was nothing. */
export async function recoverAct({ ports, settings, tenure, log }: RecoverParts): Promise<Recovery | undefined> {
  const { act } = await tenure.read();
  if (act === null) return undefined;
  const fate = act.step === 'opened' ? 'decided' : await ports.fences[otherSide(flipTo(act.kind))].settle(act.epoch);
  failpoint('flip.settled');
  if (fate === 'decided') {
    await finishFlip({ ports, settings, tenure, act, log, recovered: true });
    return { act, outcome: 'flipped' };
  }
  const reason = `the process that ran it (${act.by}) ended, or lost its lease, before the decision`;
  await tenure.end(act, { outcome: 'aborted', details: { reason, lastStep: act.step } });
  return { act, outcome: 'aborted' };
}
