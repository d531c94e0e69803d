/**
 * What an earlier process left. Guarantee: an act that was not decided is void for good before it is called so, and one that was decided is
 * finished; the journals say which (schemas/migration/recovery.ts), and nothing else does. Then the fences are as the last decision has them.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { Act } from '#schemas/migration/migration-row.ts';
import { highestEpoch, type Journals, recoveryOf } from '#schemas/migration/recovery.ts';
import type { Side } from '#schemas/migration/transitions.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { finishFlip } from './finish.ts';
import { mendFences, raiseAgain } from './mend.ts';
import type { FlipAct, RecoveryPorts, Tenure } from './ports.ts';
import type { FlipSettings } from './settings.ts';
import type { StepLog } from './step-log.ts';

export interface Recovery {
  readonly epoch: bigint;
  /** `mended`: no act was left, and a fence was not as the last decision has it. */
  readonly outcome: 'finished' | 'backed-out' | 'forced' | 'mended';
  /** Could be written, though the other side serves. */
  readonly raised?: Side;
}

export interface RecoverParts {
  readonly ports: RecoveryPorts;
  readonly settings: FlipSettings;
  readonly tenure: Tenure;
  readonly log: StepLog;
  /** Who does it. */
  readonly by: string;
  /** That a fence leaves out tables which came later, and cannot be raised anew just now, is no reason to stop. */
  readonly mayLeaveHoles?: boolean;
}

const LOST =
  'the target had lost the rollback, which the source has in its journal: it failed over without its last transactions, or was put back';

/** A rollback that was made on the target, and not by force. */
function isEchoLast({ source }: Journals): boolean {
  const decided = source.filter(({ isVoid }) => !isVoid);
  return decided.reduce((last, entry) => (entry.epoch > last.epoch ? entry : last), decided[0]!).isEcho === true;
}

/** What it does leads to `nothing` in seven turns. */
const TURNS_MAX = 8;

/** @returns what was left, if anything, and the journals as they are now. @throws PipelineError CF-8005 when they contradict the state */
export async function recoverActs(parts: RecoverParts): Promise<{ readonly left: Recovery | undefined; readonly journals: Journals }> {
  const { ports, tenure, by } = parts;
  let left: Recovery | undefined;
  let raised: Side | undefined;
  const found = (): Recovery | undefined => left && { ...left, ...(raised !== undefined && { raised }) };
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    const { row } = tenure;
    const journals = await ports.state.journals();
    const next = recoveryOf(row, journals);
    if (next.do === 'nothing') {
      const mended = await mendFences(parts, journals);
      if (mended.do === 'nothing') return { left: found(), journals };
      if (mended.do === 'raise' && !mended.isHole) raised = mended.side;
      left ??= { epoch: row.epoch, outcome: 'mended' };
      continue;
    }
    if (next.do === 'halt') throw new PipelineError('CF-8005', next.why);
    if (next.do === 'settle') {
      await ports.fences[next.side].settle(next.epoch);
      failpoint('flip.settled');
    } else if (next.do === 'lift') {
      await ports.fences[next.side].lift(next.epoch);
    } else if (next.do === 'raise') {
      await raiseAgain(parts, next, journals);
      raised = next.side;
    } else if (next.do === 'apply') {
      const isFound = next.event === 'forced-found';
      const ended = `the process that ran it (${row.act?.by ?? 'unknown'}) ended, or lost its lease`;
      const isLost = isFound && isEchoLast(journals);
      const reason = isLost ? LOST : isFound ? 'by its journal the source serves, which the state did not know' : ended;
      await tenure.apply(next.event, {
        actor: by,
        details: { reason, recovered: true, ...(isLost && { lost: true }) },
        ...(isFound && { epochSeen: highestEpoch(journals) }),
      });
      const outcome = { 'backed-out': 'backed-out', decided: 'finished', 'forced-found': 'forced' } as const;
      left = { epoch: row.epoch, outcome: outcome[next.event] };
    } else {
      await finishFlip({ ...parts, act: flipAct(row.act, row.epoch), certificate: {} });
      left = { epoch: row.epoch, outcome: 'finished' };
    }
  }
  throw new PipelineError('CF-8005', `recovery comes to no end in state ${tenure.row.state}`);
}

/** As the state row keeps it. */
export function flipAct(act: Act | undefined, epoch: bigint): FlipAct {
  const drill = act?.kind.endsWith('-drill') ?? false;
  return { kind: act?.kind.startsWith('rollback') === true ? 'rollback' : 'cutover', drill, epoch, by: act?.by ?? 'unknown' };
}
