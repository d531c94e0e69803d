/**
 * What went otherwise than planned. Guarantee: pure; an act that was undone, a forced rollback, a side that had lost its fence, a trigger that fired, rows that differed, rows and tables that
 * wait, and a broken audit trail all stand in it, whether or not they are over.
 */
import type { AuditVerdict, AuditRecord } from '../migration/audit-record.ts';
import { type DriftFinding, OPEN_STATES } from '../reconcile/drift-finding.ts';
import { REVERSE_ANEW } from '../migration/recovery.ts';
import type { ReportedAct } from './acts.ts';
import { textIn } from './details.ts';
import { maskValues } from './mask-values.ts';
import type { ReportedCheck, ReportedIncident } from './report-document.ts';

export interface IncidentFacts {
  readonly writtenAt: string;
  readonly acts: readonly ReportedAct[];
  readonly audit: readonly AuditRecord[];
  readonly verdict: AuditVerdict;
  readonly findings: readonly DriftFinding[];
  readonly checks: readonly ReportedCheck[];
  readonly held: readonly { readonly from: string; readonly error: string | null }[];
  readonly setAside: number | null;
}

const KIND_WORDS = {
  cutover: 'The cut-over',
  rollback: 'The rollback',
  'cutover-drill': 'The drill of the cut-over',
  'rollback-drill': 'The drill of the rollback',
} as const;

export function actName({ kind, epoch }: Pick<ReportedAct, 'kind' | 'epoch'>): string {
  return `${KIND_WORDS[kind]} of epoch ${epoch}`;
}

/** The oldest first. */
export function incidentsOf(facts: IncidentFacts): ReportedIncident[] {
  const { writtenAt, acts, audit, verdict, findings, checks, held, setAside } = facts;
  const now = (what: string): ReportedIncident => ({ at: writtenAt, what, isOver: false });
  return [
    ...acts.flatMap(ofAct),
    ...audit.filter(({ event }) => event === 'forced-found').map(ofForced),
    ...audit.filter(({ event }) => event === 'fence-raised').map(ofFence),
    ...audit.filter(({ event }) => event === REVERSE_ANEW).map(ofGap),
    ...audit.filter(({ event }) => event === 'trigger-fired').map(ofTrigger),
    ...audit.flatMap(ofDoubt),
    ...findingGroups(findings),
    ...checks.flatMap((check) => ofCheck(check, audit)),
    ...held.map(({ from, error }) => now(`Table ${from} is held: ${error === null ? 'the cause is not recorded' : maskValues(error)}`)),
    ...(setAside !== null && setAside > 0 ? [now(`${setAside} rows are set aside (crossfade dlq list)`)] : []),
    ...(verdict.ok ? [] : [now(`The audit trail does not hold: ${verdict.why}`)]),
  ].toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

function ofAct(act: ReportedAct): ReportedIncident[] {
  if (act.outcome === 'under way')
    return [{ at: act.beganAt, what: `${actName(act)} has begun and has no end in the audit trail`, isOver: false }];
  if (act.outcome !== 'backed-out')
    return act.warnings.map((warning) => ({ at: act.beganAt, what: `${actName(act)}: ${warning}`, isOver: true }));
  const where = act.step === null ? '' : ` at step ${act.step}`;
  const why = act.reason === null ? '' : `: ${act.reason}`;
  return [{ at: act.endedAt ?? act.beganAt, what: `${actName(act)} was backed out${where}${why}`, isOver: true }];
}

function ofForced({ at, actor, details }: AuditRecord): ReportedIncident {
  if (details['lost'] === true) return { at, what: `The target had lost the rollback (found by ${actor})`, isOver: true };
  return { at, what: `A rollback was forced while the target could not be reached (found by ${actor})`, isOver: true };
}

function ofFence({ at, details }: AuditRecord): ReportedIncident {
  const [side, reason] = [textIn(details, 'side') ?? 'other side', textIn(details, 'reason')];
  return { at, what: `The fence of the ${side} was raised again${reason === undefined ? '' : `: ${reason}`}`, isOver: true };
}

/** The first of those that found it; while the source serves, the running comparison has a finding of its own. */
function ofDoubt({ at, event, details, seq }: AuditRecord, _i: number, audit: readonly AuditRecord[]): ReportedIncident[] {
  if (event !== 'doubted' || details['serves'] !== 'target') return [];
  const before = audit.findLast((one) => one.seq < seq && ['proved', 'doubted', 'decided'].includes(one.event));
  if (before?.event === 'doubted') return [];
  const isOver = audit.some((later) => later.seq > seq && (later.event === 'proved' || later.toState === 'following'));
  return [{ at, what: `A comparison while the target served found ${textIn(details, 'differences') ?? 'some'} rows that differ`, isOver }];
}

/** While the target serves none is made: what was decided since leaves it behind. */
function ofCheck({ name, at, verdict }: ReportedCheck, audit: readonly AuditRecord[]): ReportedIncident[] {
  if (verdict !== 'differs') return [];
  const isOver = audit.some((later) => later.event === 'decided' && Date.parse(later.at) > Date.parse(at));
  return [{ at, what: `The check ${name} differed when it was made last (crossfade verify has the figures)`, isOver }];
}

/** Over once a comparison of everything was clean. */
function ofGap({ at, details, seq }: AuditRecord, _i: number, audit: readonly AuditRecord[]): ReportedIncident {
  const isOver = audit.some((later) => later.seq > seq && later.event === 'proved');
  return {
    at,
    what: `The way back lost its place while the target served, and was begun anew at ${textIn(details, 'lsn') ?? '?'}`,
    isOver,
  };
}

function ofTrigger({ at, details }: AuditRecord): ReportedIncident {
  const name = textIn(details, 'trigger') ?? 'a trigger';
  const evidence = textIn(details, 'evidence');
  const rehearsed = details['rehearsed'] === true ? ' (rehearsed)' : '';
  return { at, what: `The trigger ${name} fired${rehearsed}${evidence === undefined ? '' : `: ${evidence}`}`, isOver: true };
}

/** By table, kind and whether they are over: a table that differed in a thousand rows is one incident. */
function findingGroups(findings: readonly DriftFinding[]): ReportedIncident[] {
  const groups = new Map<string, { readonly of: DriftFinding; rows: number; firstMs: number; readonly isOver: boolean }>();
  for (const one of findings) {
    const isOver = !OPEN_STATES.has(one.state);
    const key = JSON.stringify([one.to, one.kind, one.state]);
    const firstMs = one.steps[0]?.atMs ?? 0;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { of: one, rows: one.rows, firstMs, isOver });
    else {
      group.rows += one.rows;
      group.firstMs = Math.min(group.firstMs, firstMs);
    }
  }
  return [...groups.values()].map(({ of, rows, firstMs, isOver }) => ({
    at: new Date(firstMs).toISOString(),
    what: `${rows} ${rows === 1 ? 'row' : 'rows'} of ${of.to} ${KIND_OF[of.kind]}: ${STATE_OF[of.state]}`,
    isOver,
  }));
}

const KIND_OF = { missing: 'missing on the target', extra: 'on the target only', different: 'different' } as const;

const STATE_OF = {
  suspected: 'suspected, not confirmed yet',
  confirmed: 'confirmed, and not repaired',
  repairing: 'being copied again',
  verified: 'repaired, and equal since',
  flapped: 'equal again when compared once more',
} as const;
