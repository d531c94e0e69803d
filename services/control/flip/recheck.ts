/**
 * Gates again, right before writers wait and once more behind the fence: the comparison in between takes as long as it takes. Guarantee: what is found closed
 * ends the flip before its decision.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { FlipAct, FlipPorts, GateResult } from './ports.ts';
import type { StepLog } from './step-log.ts';
import { within } from './within.ts';

/** Each gate bounds itself; this only ends what hangs. */
const RECHECK_MS = 120_000;

export interface RecheckParts {
  readonly ports: Pick<FlipPorts, 'clock' | 'gates'>;
  readonly act: FlipAct;
  readonly log: StepLog;
}

/** @throws PipelineError CF-8310 */
export async function recheck({ ports, act, log }: RecheckParts, ends: readonly Promise<never>[]): Promise<void> {
  const { clock, gates } = ports;
  const late = (): PipelineError => new PipelineError('CF-8310', 'the gates could not be looked at again');
  const look = async (): Promise<readonly GateResult[]> => gates.again(act.kind, act.drill);
  requireOpen(await log.run('recheck', async () => within({ clock, ms: RECHECK_MS, late, ends }, look), describeGates));
}

/** @throws PipelineError CF-8310 */
export function requireOpen(gates: readonly GateResult[]): void {
  const closed = gates.filter(({ state }) => state === 'closed');
  if (closed.length === 0) return;
  const what = closed.map(({ gate, evidence }) => `${gate} (${evidence})`).join('; ');
  const remedy = closed.map(({ finding }) => finding?.remedy).find((text) => text !== undefined);
  throw new PipelineError('CF-8310', `closed since it was begun: ${what}`, {
    details: { gates: closed.map(({ gate, evidence }) => ({ gate, evidence })) },
    ...(remedy !== undefined && { remedy }),
  });
}

export function describeGates(gates: readonly GateResult[]): string {
  const closed = gates.filter(({ state }) => state === 'closed').map(({ gate }) => gate);
  return closed.length === 0 ? `${gates.length} open` : `closed: ${closed.join(', ')}`;
}
