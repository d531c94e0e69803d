/**
 * Whether reads may go where a change sends them. Guarantee: nobody is sent to the target before it shows the source's present state, nor back to a
 * source that no longer serves; shadow, kill and following the writes are always allowed, since answers then come from the store that serves.
 */
import { PipelineError } from '../errors.ts';
import type { StatusResult } from '../status/status-result.ts';
import { type DualStage, moveBetween } from './dual-stages.ts';
import { stageOf } from './evaluate.ts';
import type { FlagDocument } from './flag-document.ts';
import { type ReadRules, readsOf, type RulesChange, type Side } from './read-rules.ts';

/** A target further behind answers with the past. */
const LAG_SECONDS_MAX = 30;

export interface ReadsGateInput {
  readonly document: Pick<FlagDocument, 'serves' | 'rules'>;
  readonly change: RulesChange;
  readonly status: StatusResult;
}

/** @throws PipelineError CF-8401 with all that keeps it closed */
export function requireReadsGate(input: ReadsGateInput): void {
  const reasons = closedReasons(input);
  if (reasons.length === 0) return;
  const what = input.change.kind === 'stage' ? `the stage may not become ${input.change.stage}` : 'reads may not go there';
  throw new PipelineError('CF-8401', `${what} yet: ${reasons.join('; ')}`, { details: { reasons } });
}

export function closedReasons({ document, change, status }: ReadsGateInput): string[] {
  const { serves, rules } = document;
  if (change.kind === 'stage') return stageReasons(stageOf(document) ?? 'off', change.stage, status);
  if (rules?.dual !== undefined && change.kind === 'reads')
    return ['the application writes both stores, and reads go by the stage: crossfade flags set --stage'];
  const side = sideAsked(change, document);
  if (side === undefined || side === serves) return [];
  if (side === 'source')
    return ['writes go to the target: give reads back with crossfade rollback, or read where writes go (crossfade flags set --kill)'];
  return targetReasons(status);
}

/** Back it may always go, one step. */
function stageReasons(from: DualStage, to: DualStage, status: StatusResult): string[] {
  const move = moveBetween(from, to);
  if (move === 'none' || move === 'back') return [];
  if (move === 'leap') return [`the stage is ${from}, and one step is made at a time`];
  if (move === 'cutover') return ['from shadow to live is the cut-over: crossfade cutover'];
  if (move === 'rollback') return ['from live back to shadow is the rollback: crossfade rollback'];
  if (to === 'dualwrite' && status.phase === 'planned') return ['nothing follows the source yet: start crossfade up'];
  // What still differs is found from this stage on.
  if (to === 'shadow') return targetReasons({ ...status, drift: null });
  if (to === 'rampdown' && status.drift !== 0)
    return [
      status.drift === null ? 'nobody has compared the stores: crossfade verify' : `the last comparison found ${status.drift} differences`,
    ];
  return [];
}

/** Where some unit is sent that was not there before. */
function sideAsked(change: Exclude<RulesChange, { kind: 'stage' }>, { serves, rules }: ReadsGateInput['document']): Side | undefined {
  if (change.kind === 'follow-writes') return undefined;
  if (change.kind === 'kill') return change.kill || rules === undefined ? undefined : releasedSide({ ...rules, kill: false }, serves);
  const { reads, tenant, table } = change;
  if (typeof reads === 'object') return 'targetPercent' in reads && reads.targetPercent > 0 ? 'target' : undefined;
  // What is left holds then, and passed the gate when it was set.
  if (reads === 'default') return tenant === undefined && table === undefined ? 'source' : undefined;
  return reads === 'shadow' ? undefined : reads;
}

function releasedSide(rules: ReadRules, serves: Side): Side | undefined {
  if (readsOf(rules, serves) === serves) return undefined;
  return serves === 'source' ? 'target' : 'source';
}

function targetReasons({ phase, tables, lag, drift }: StatusResult): string[] {
  const reasons: string[] = [];
  if (phase === 'planned' || phase === 'copying') reasons.push(`the copy is not complete (${phase})`);
  const apart = tables.filter((table) => table.phase !== 'following');
  if (apart.length > 0)
    reasons.push(
      `not all tables follow: ${apart
        .slice(0, 5)
        .map(({ from, phase: its }) => `${from} is ${its}`)
        .join(', ')}`,
    );
  if (!lag.known) reasons.push('how far the target is behind is not known');
  else if ((lag.seconds ?? Infinity) > LAG_SECONDS_MAX) reasons.push(`the target is ${Math.round(lag.seconds ?? Infinity)} s behind`);
  if (drift !== null && drift > 0) reasons.push(`the last comparison found ${drift} differences`);
  return reasons;
}
