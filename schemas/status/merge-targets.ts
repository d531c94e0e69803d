/**
 * The status of a migration with named targets. Guarantee: the whole is as far as the target that is furthest behind, and unknown as soon as
 * one of them is; the targets stand beside it one by one.
 */
import { formatLsn, minLsn, parseLsn } from '../lsn.ts';
import type { StatusResult, TargetStatus } from './status-result.ts';

export interface TargetView extends Pick<TargetStatus, 'name' | 'kind' | 'connected'> {
  readonly error?: string;
  /** It could not be asked: `status` holds nothing of it. */
  readonly isUnknown?: true;
  /** As if there were no other target. */
  readonly status: StatusResult;
}

/** @param views At least one. */
export function mergeTargets(views: readonly TargetView[]): StatusResult {
  const all = views.map(({ status }) => status);
  const { reconciliation: _, ...first } = all[0]!;
  return {
    ...first,
    phase: phaseOf(views),
    tables: views.flatMap(({ name, status }) => status.tables.map((table) => ({ ...table, target: name }))),
    lag: lagOf(all),
    applied: {
      lsn: lowest(all.map(({ applied }) => applied.lsn)),
      exact: all.every(({ applied }) => applied.exact),
    },
    restarts: all.reduce((most, { restarts }) => Math.max(most, restarts), 0),
    deadLetters: all.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
    drift: all.reduce<number | null>((sum, { drift }) => (sum === null || drift === null ? null : sum + drift), 0),
    plan: views.length === 1 ? first.plan : null,
    targets: views.map(({ status: { phase, lag, applied, deadLetters, drift, reconciliation, plan }, isUnknown, ...view }) => ({
      ...view,
      phase: isUnknown === true ? null : phase,
      lag,
      applied,
      deadLetters,
      drift,
      ...(reconciliation !== undefined && { reconciliation }),
      plan,
    })),
  };
}

/** One that was added later is still to be copied. */
function phaseOf(views: readonly TargetView[]): StatusResult['phase'] {
  const told = views.filter(({ isUnknown }) => isUnknown !== true).map(({ status }) => status.phase);
  const [first = 'planned'] = told;
  if (told.every((phase) => phase === first)) return first;
  return told.some((phase) => phase === 'planned' || phase === 'copying') ? 'copying' : first;
}

function lowest(lsns: readonly (string | null)[]): string | null {
  const known = lsns.filter((lsn) => lsn !== null);
  return known.length < lsns.length ? null : formatLsn(known.map(parseLsn).reduce(minLsn));
}

function lagOf(all: readonly StatusResult[]): StatusResult['lag'] {
  if (all.some(({ lag }) => !lag.known)) return { bytes: null, seconds: null, known: false };
  return { bytes: greatest(all.map(({ lag }) => lag.bytes)), seconds: greatest(all.map(({ lag }) => lag.seconds)), known: true };
}

function greatest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length < values.length ? null : Math.max(...known);
}
