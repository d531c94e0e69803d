/**
 * One flip of who serves: the cut-over, and the rollback, which is the same with the sides swapped. Guarantee: before the COMMIT of the fence every
 * failure leads back to where it began, with writers going on; behind it nothing does, and whoever comes next finishes it. The decision is one row in
 * the journal of the side that served, written by the transaction that fences it (ports.ts says what is relied on).
 *
 * The order: lease → what an earlier one left → the way back is wanted → gates → act recorded → hooks that may veto → full comparison while writes go on → gates again → [fence →
 * marker → drained → purity → final comparison → sequences → COMMIT] → the other side opened → recorded → flags → hooks → done. In brackets writers wait.
 */
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { type BlockFacts, certificateOf, runBlock, UndecidedError, unequal } from './block.ts';
import { describeHooks, finishFlip } from './finish.ts';
import {
  type FlipAct,
  type FlipKind,
  type FlipPorts,
  flipTo,
  type GateResult,
  type OpenCompare,
  type RecoveryPorts,
  REVERSE_GATE,
  type Side,
  type Tenure,
} from './ports.ts';
import { otherSide, REFUSALS, step as stepOf } from '#schemas/migration/transitions.ts';
import { fenceTargetFirst } from './mend.ts';
import { describeGates, recheck } from './recheck.ts';
import { recoverActs, type Recovery } from './recover.ts';
import type { FlipSettings } from './settings.ts';
import { type OnStep, StepLog, type StepReport } from './step-log.ts';
import { rejection, within } from './within.ts';

export interface FlipRequest {
  readonly kind: FlipKind;
  /** Everything but the COMMIT. */
  readonly drill: boolean;
  /** Only the gates. */
  readonly dryRun?: boolean;
  /** Who asked for it. */
  readonly by: string;
  readonly onStep?: OnStep;
  /** Fires when it is to be stopped: heeded until the decision. */
  readonly signal?: AbortSignal;
}

export type FlipOutcome = { readonly steps: readonly StepReport[]; readonly recovered?: Recovery } & (
  | { readonly outcome: 'already'; readonly serves: Side }
  | { readonly outcome: 'closed'; readonly gates: readonly GateResult[] }
  | { readonly outcome: 'planned'; readonly gates: readonly GateResult[] }
  | {
      readonly outcome: 'flipped' | 'drilled';
      readonly serves: Side;
      readonly epoch: bigint;
      /** Writers waited for this long. */
      readonly blockMs: number;
      readonly certificate: Readonly<Record<string, unknown>>;
      readonly gates: readonly GateResult[];
      readonly warnings: readonly string[];
    }
);

/** A comparison of everything takes as long as it takes; this only ends one that hangs. */
const BEGIN_COMPARE_MS = 24 * 3_600_000;

/** @throws PipelineError what ended it, with `details.step`; CF-8308 where it is decided and not finished */
export async function flip(ports: FlipPorts, settings: FlipSettings, request: FlipRequest): Promise<FlipOutcome> {
  const log = new StepLog(ports.clock, request.onStep ?? (() => undefined));
  const { kind, drill, signal } = request;
  const tenure = await log.run('lease', async () => ports.state.lease());
  try {
    failpoint('flip.leased');
    const { left, journals } = await log.run(
      'recover',
      async () => recoverActs({ ports, settings, tenure, log, by: request.by, mayLeaveHoles: true }),
      ({ left: found }) => found && describeRecovery(found),
    );
    const common = { steps: log.steps, ...(left !== undefined && { recovered: left }) };
    const { serves } = tenure.row;
    if (serves === flipTo(kind)) return { outcome: 'already', serves, ...common };
    signal?.throwIfAborted();
    requireLawful(tenure, request);
    const want = async (): Promise<boolean> => ports.reverse.want(request.by);
    const isNew = request.dryRun !== true && (await log.run('reverse', want, (isIt) => (isIt ? 'set up now' : undefined)));
    const gates = await log.run('gates', async () => ports.gates.check(kind, drill), describeGates);
    const closed = gates.filter(({ state }) => state === 'closed');
    if (closed.length > 0) {
      // One that is only late is left to stand up: the next attempt finds it.
      if (isNew && closed.length > 1 && closed.some(({ gate }) => gate === REVERSE_GATE)) await ports.reverse.unwant(request.by);
      return { outcome: 'closed', gates, ...common };
    }
    if (request.dryRun === true) return { outcome: 'planned', gates, ...common };
    signal?.throwIfAborted();
    const epochSeen = await fenceTargetFirst({ ports, settings, tenure, log }, journals);
    const act = await log.run('begin', async () => begin(tenure, request, { gates, epochSeen }));
    failpoint('flip.begun');
    return { ...(await runAct({ ports, settings, request, tenure, act, gates, log })), ...common };
  } finally {
    await tenure.release();
  }
}

/** Before anything is set up for it. @throws PipelineError CF-8002 */
function requireLawful({ row }: Tenure, request: FlipRequest): void {
  const event = beginEvent(request);
  const result = stepOf(row, event);
  if (result.ok) return;
  throw new PipelineError('CF-8002', `${event} is not possible while the migration is ${row.state}: ${REFUSALS[result.refusal]}`, {
    details: { state: row.state, event, refusal: result.refusal },
  });
}

function beginEvent({ kind, drill }: FlipRequest): 'drill-begun' | `${FlipKind}-begun` {
  return drill ? 'drill-begun' : `${kind}-begun`;
}

function describeRecovery({ epoch, outcome, raised }: Recovery): string {
  const fenced = raised === undefined ? '' : `; the ${raised} could be written, and was fenced: look with crossfade verify`;
  return `an act of epoch ${epoch} ${DESCRIBED[outcome]}${fenced}`;
}

const DESCRIBED = {
  finished: 'was finished',
  'backed-out': 'was backed out',
  forced: 'was forced',
  mended: 'was followed by a fence that was not as it left it: mended',
} as const;

async function begin(
  tenure: Tenure,
  request: FlipRequest,
  { gates, epochSeen }: { readonly gates: readonly GateResult[]; readonly epochSeen: bigint },
): Promise<FlipAct> {
  const { kind, drill, by } = request;
  const row = await tenure.apply(beginEvent(request), { actor: by, details: { gates }, epochSeen });
  return { kind, drill, epoch: row.epoch, by };
}

/** What an earlier process left, without a flip of one's own. Undefined: nothing. @throws PipelineError CF-8001 while somebody acts */
export async function recover(
  ports: RecoveryPorts,
  settings: FlipSettings,
  { by, onStep = () => undefined }: { readonly by: string; readonly onStep?: OnStep },
): Promise<Recovery | undefined> {
  const log = new StepLog(ports.clock, onStep);
  const tenure = await ports.state.lease();
  try {
    return (await log.run('recover', async () => recoverActs({ ports, settings, tenure, log, by }))).left;
  } finally {
    await tenure.release();
  }
}

interface ActParts {
  readonly ports: FlipPorts;
  readonly settings: FlipSettings;
  readonly request: FlipRequest;
  readonly tenure: Tenure;
  readonly act: FlipAct;
  readonly gates: readonly GateResult[];
  readonly log: StepLog;
}

async function runAct(parts: ActParts): Promise<FlipOutcome> {
  const { ports, tenure, act, gates, log } = parts;
  let block: BlockFacts;
  try {
    block = await untilDecided(parts);
  } catch (error) {
    throw await backedOut(parts, error);
  }
  const to = flipTo(act.kind);
  const certificate = { gates, ...certificateOf(block) };
  if (act.drill) {
    const blockMs = Math.round(ports.clock.now() - block.blockedSince);
    const details = { ...certificate, blockMs, timings: log.timings() };
    await log.run('finish', async () => tenure.apply('backed-out', { actor: act.by, details: { drilled: true, ...details } }));
    return {
      outcome: 'drilled',
      serves: otherSide(to),
      epoch: act.epoch,
      blockMs,
      certificate: details,
      gates,
      warnings: [],
      steps: log.steps,
    };
  }
  const { blockedSince } = block;
  const done = await finishFlip({ ...parts, certificate, blockedSince });
  const blockMs = Number(done.certificate['blockMs']);
  return { outcome: 'flipped', serves: to, epoch: act.epoch, blockMs, ...done, gates, steps: log.steps };
}

async function untilDecided(parts: ActParts): Promise<BlockFacts> {
  const { ports, settings, request, tenure, act, log } = parts;
  const { kind, drill, epoch } = act;
  const to = flipTo(kind);
  const from = otherSide(to);
  const ends = [rejection(request.signal), rejection(tenure.lost)];
  const hooks = await log.run('hooks', async () => ports.hooks.before({ event: 'before', kind, drill, epoch, serves: to }), describeHooks);
  const veto = hooks.find(({ ok }) => !ok);
  if (veto !== undefined) throw new PipelineError('CF-8303', `hook ${veto.hook} vetoes: ${veto.said}`);
  failpoint('flip.allowed');
  await log.run('prepare', async () => Promise.all([ports.fences.source.prepare(epoch), ports.fences.target.prepare(epoch)]));
  failpoint('flip.prepared');
  let compare: OpenCompare | undefined;
  try {
    const late = (): PipelineError => new PipelineError('CF-8306', 'the comparison did not end');
    compare = await log.run(
      'compare',
      async () => within({ clock: ports.clock, ms: BEGIN_COMPARE_MS, late, ends }, async (stop) => ports.compare.begin(from, stop)),
      ({ before }) => before.summary,
    );
    const { before } = compare;
    if (!before.clean) throw new PipelineError('CF-8304', `${unequal(before)}: ${before.summary}`, { details: { report: before.report } });
    failpoint('flip.compared-before');
    const open = compare;
    const left = await log.run(
      'predict',
      async () => within({ clock: ports.clock, ms: BEGIN_COMPARE_MS, late, ends }, async (stop) => open.refresh(stop)),
      ({ keys, predictedMs }) => `${keys} keys to compare behind the fence, about ${Math.round(predictedMs)} ms`,
    );
    if (left.predictedMs > settings.compareTimeoutMs)
      throw new PipelineError('CF-8306', `the final comparison of ${left.keys} keys would take about ${Math.round(left.predictedMs)} ms`);
    await recheck(parts, ends);
    const compared = { before: { summary: before.summary, ...before.report } };
    await tenure.apply('stepped', { actor: act.by, step: 'fence', details: compared });
    failpoint('flip.fencing');
    const facts = { ...compared, ...(hooks.length > 0 && { beforeHooks: hooks }) };
    return await runBlock({ ports, settings, tenure, act, compare: open, log, signal: request.signal, facts });
  } finally {
    await compare?.close().catch(() => undefined);
  }
}

/** The state is as before, and the audit says why; where that cannot be written, the act stays for whoever recovers it. @returns what to throw */
async function backedOut({ tenure, act, log }: ActParts, error: unknown): Promise<unknown> {
  const step = log.current;
  if (error instanceof UndecidedError) {
    return new PipelineError('CF-8308', `whether the ${act.kind} of epoch ${act.epoch} is decided is not known yet: ${error.message}`, {
      cause: error,
    });
  }
  const details = {
    reason: messageOf(error),
    step,
    ...(error instanceof PipelineError && { code: error.code, ...error.details }),
    timings: log.timings(),
  };
  await tenure.apply('backed-out', { actor: act.by, details }).catch(() => undefined);
  if (!(error instanceof PipelineError)) return error;
  return new PipelineError(error.code, `${error.message} (step ${step}; backed out, writes go on)`, {
    cause: error,
    remedy: error.remedy,
    details: { ...error.details, step },
  });
}
