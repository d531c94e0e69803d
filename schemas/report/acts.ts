/**
 * Flips and drills as the audit trail tells them. Guarantee: pure; each begun act is there once, with what its records say together; what no
 * record says is absent, never zero.
 */
import type { AuditRecord, Details } from '../migration/audit-record.ts';
import { type ActKind, actOf, type MigrationState } from '../migration/transitions.ts';
import { blockIn, blocksIn, flagIn, numberIn, textIn, textsIn } from './details.ts';
import { maskValues } from './mask-values.ts';

/** done: decided and finished. drilled: all but the decision. backed-out: undone before it. forced: overtaken by a forced rollback. */
export type ActOutcome = 'done' | 'drilled' | 'backed-out' | 'forced' | 'under way';

export interface ReportedAct {
  readonly kind: ActKind;
  readonly epoch: string;
  readonly by: string;
  readonly beganAt: string;
  readonly endedAt: string | null;
  readonly outcome: ActOutcome;
  /** Why it was undone, at which step, and the error's code. */
  readonly reason: string | null;
  readonly step: string | null;
  readonly code: string | null;
  readonly marker: { readonly id: string; readonly lsn: string } | null;
  /** The comparison of everything before the fence, and the final one behind it. */
  readonly before: string | null;
  readonly compare: string | null;
  readonly counts: readonly TableCount[];
  readonly sequences: readonly { readonly sequence: string; readonly was: string; readonly set: string }[];
  readonly lockWaitMs: number | null;
  /** How long writers waited. */
  readonly blockMs: number | null;
  /** By step, in milliseconds, in their order. */
  readonly timings: readonly { readonly step: string; readonly ms: number }[];
  readonly gates: readonly { readonly gate: string; readonly state: string; readonly evidence: string }[];
  readonly warnings: readonly string[];
}

/** Rows of both sides at one state. */
export interface TableCount {
  readonly from: string | null;
  readonly to: string;
  readonly rowsSource: number;
  readonly rowsTarget: number;
}

const BEGINNINGS: ReadonlySet<string> = new Set(['cutover-begun', 'rollback-begun', 'drill-begun']);
const ENDS: ReadonlySet<string> = new Set(['finished', 'backed-out', 'forced-found']);

/** @param records In their order. */
export function actsOf(records: readonly AuditRecord[]): ReportedAct[] {
  const acts: ReportedAct[] = [];
  let open: AuditRecord[] = [];
  const close = (): void => {
    if (open.length > 0) acts.push(actFrom(open));
    open = [];
  };
  for (const record of records) {
    if (BEGINNINGS.has(record.event)) {
      close();
      open = [record];
    } else if (open.length > 0 && record.toState !== null) {
      open.push(record);
      if (ENDS.has(record.event)) close();
    }
  }
  close();
  return acts;
}

function actFrom(records: readonly AuditRecord[]): ReportedAct {
  const first = records[0]!;
  const last = records.at(-1)!;
  const ended = ENDS.has(last.event);
  // The last one that says it counts: a certificate is told more than once, and grows.
  const details = Object.assign({}, ...records.map((record) => record.details)) as Details;
  const outcome = outcomeOf(last, ended);
  const isUndone = outcome === 'backed-out';
  const marker = blockIn(details, 'marker');
  const [id, lsn] = [textIn(marker, 'id'), textIn(marker, 'lsn')];
  const before = blockIn(details, 'before');
  const compare = blockIn(details, 'compare');
  return {
    kind: actOf(first.toState as MigrationState)?.kind ?? 'cutover',
    epoch: textIn(first.details, 'epoch') ?? '',
    by: first.actor,
    beganAt: first.at,
    endedAt: ended ? last.at : null,
    outcome,
    reason: isUndone ? masked(textIn(last.details, 'reason') ?? textIn(last.details, 'why')) : null,
    step: isUndone ? (textIn(last.details, 'step') ?? null) : null,
    code: isUndone ? (textIn(last.details, 'code') ?? null) : null,
    marker: id === undefined || lsn === undefined ? null : { id, lsn },
    before: textIn(before, 'summary') ?? null,
    compare: textIn(compare, 'summary') ?? null,
    // Behind the fence only what has changed is counted.
    counts: countsIn(before),
    sequences: blocksIn(details, 'sequences').flatMap((one) => {
      const [sequence, was, set] = [textIn(one, 'sequence'), textIn(one, 'was'), textIn(one, 'set')];
      return sequence === undefined || set === undefined ? [] : [{ sequence, was: was ?? '', set }];
    }),
    lockWaitMs: numberIn(details, 'lockWaitMs') ?? null,
    blockMs: numberIn(details, 'blockMs') ?? null,
    timings: timingsIn(blockIn(details, 'timings')),
    gates: blocksIn(details, 'gates').flatMap(gateOf),
    warnings: textsIn(details, 'warnings'),
  };
}

function outcomeOf(last: AuditRecord, ended: boolean): ActOutcome {
  if (!ended) return 'under way';
  if (last.event === 'finished') return 'done';
  if (last.event === 'forced-found') return 'forced';
  return flagIn(last.details, 'drilled') === true ? 'drilled' : 'backed-out';
}

/** Of a comparison's report: `tables`, as verify has them. */
function countsIn(report: Details | undefined): TableCount[] {
  return blocksIn(report, 'tables').flatMap((one) => {
    const [to, rowsSource, rowsTarget] = [textIn(one, 'to'), numberIn(one, 'rowsSource'), numberIn(one, 'rowsTarget')];
    if (to === undefined || rowsSource === undefined || rowsTarget === undefined) return [];
    return [{ from: textIn(one, 'from') ?? null, to, rowsSource, rowsTarget }];
  });
}

/** JSON in the database keeps no order of keys: these are put into that of a flip. */
const STEP_ORDER: readonly string[] =
  'lease recover reverse gates target-fence begin hooks prepare compare predict recheck fence marker drain purity final-compare sequences swap decide open record flags after-hooks finish'.split(
    ' ',
  );

function timingsIn(timings: Details | undefined): { readonly step: string; readonly ms: number }[] {
  const rank = (step: string): number => (STEP_ORDER.includes(step) ? STEP_ORDER.indexOf(step) : STEP_ORDER.length);
  return Object.keys(timings ?? {})
    .flatMap((step) => {
      const ms = numberIn(timings, step);
      return ms === undefined ? [] : [{ step, ms }];
    })
    .toSorted((a, b) => rank(a.step) - rank(b.step));
}

/** As a flip notes them (`state`), and as a sign-off does (`isOpen`). */
function gateOf(one: Details): { readonly gate: string; readonly state: string; readonly evidence: string }[] {
  const gate = textIn(one, 'gate');
  if (gate === undefined) return [];
  const isOpen = flagIn(one, 'isOpen');
  const state = textIn(one, 'state') ?? (isOpen === undefined ? 'unknown' : isOpen ? 'open' : 'closed');
  return [{ gate, state, evidence: textIn(one, 'evidence') ?? '' }];
}

/** It may be a server's own words. */
function masked(reason: string | undefined): string | null {
  return reason === undefined ? null : maskValues(reason);
}
