/** What was read → the report. Guarantee: pure; all that was read is in it. */
import { type Approval, personKey, type RequiredApproval } from '../migration/approvals.ts';
import { describeBackup, lastBackup } from '../migration/backup.ts';
import type { AuditRecord, AuditVerdict } from '../migration/audit-record.ts';
import type { MigrationRow } from '../migration/migration-row.ts';
import type { PlanPlace } from '../plan/plan-document.ts';
import type { DriftFinding } from '../reconcile/drift-finding.ts';
import type { VerifyResult } from '../reconcile/verify-result.ts';
import { actsOf, type ReportedAct, type TableCount } from './acts.ts';
import { incidentsOf } from './incidents.ts';
import type { Remnant } from './remnant.ts';
import type {
  ReportDocument,
  ReportedApproval,
  ReportedCheck,
  ReportedComparison,
  ReportedEvidence,
  ReportedFinding,
  ReportedPlan,
  ReportedTable,
  TableSize,
} from './report-document.ts';

export interface ReportFacts {
  readonly name: string;
  readonly target: string | undefined;
  readonly writtenAt: string;
  readonly crossfade: string;
  readonly source: PlanPlace;
  readonly targetPlace: PlanPlace;
  readonly row: MigrationRow | undefined;
  readonly plans: readonly ReportedPlan[];
  readonly tables: readonly TableFacts[];
  readonly audit: { readonly records: readonly AuditRecord[]; readonly verdict: AuditVerdict };
  readonly verify: VerifyResult | undefined;
  readonly comparisons: readonly ReportedComparison[];
  readonly checks: readonly ReportedCheck[];
  readonly findings: readonly DriftFinding[];
  readonly setAside: number | null;
  readonly required: readonly RequiredApproval[];
  readonly approvals: readonly Approval[];
  readonly remnants: readonly Remnant[];
  readonly unread: readonly string[];
}

interface Names {
  readonly from: string;
  readonly to: string;
}

export interface TableFacts {
  readonly from: string;
  readonly to: string;
  readonly phase: string;
  readonly error: string | null;
  readonly rowsCopied: number;
  readonly changesApplied: number;
  readonly conflicts: Readonly<Record<string, number>>;
  /** Of a rename swap: by which they go on the other side of it, so before the last one. */
  readonly otherNames?: Names;
  readonly now: { readonly source: TableSize | null; readonly target: TableSize | null };
}

export function buildReport(facts: ReportFacts): ReportDocument {
  const { audit, row } = facts;
  const acts = actsOf(audit.records);
  const held = facts.tables.filter(({ phase }) => phase === 'held');
  return {
    name: facts.name,
    target: facts.target ?? null,
    writtenAt: facts.writtenAt,
    crossfade: facts.crossfade,
    source: facts.source,
    targetPlace: facts.targetPlace,
    state: row?.state ?? null,
    serves: row?.serves ?? 'source',
    plans: facts.plans,
    tables: tablesOf(facts.tables, acts),
    acts,
    evidence: evidenceOf(facts),
    approvals: approvalsOf(facts.required, facts.approvals),
    incidents: incidentsOf({ ...facts, audit: audit.records, verdict: audit.verdict, acts, held }),
    audit: {
      ok: audit.verdict.ok,
      why: audit.verdict.ok ? null : audit.verdict.why,
      head: row?.auditHead ?? (audit.verdict.ok ? audit.verdict.head : { seq: 0, hash: '' }),
      records: audit.records,
    },
    remnants: facts.remnants,
    unread: facts.unread,
  };
}

function tablesOf(tables: readonly TableFacts[], acts: readonly ReportedAct[]): ReportedTable[] {
  const flip = acts.findLast(({ outcome, counts }) => outcome === 'done' && counts.length > 0);
  const isBack = flip?.kind === 'rollback';
  return tables.map(({ otherNames, ...one }) => {
    // A rollback is compared the other way round: there the target is what is copied from.
    const isOf =
      (names: Names) =>
      ({ from, to }: TableCount): boolean =>
        isBack ? to === names.from && (from ?? names.to) === names.to : to === names.to && (from ?? names.from) === names.from;
    const counted = flip?.counts.find(isOf(otherNames ?? one));
    const [source, target] = isBack ? [counted?.rowsTarget, counted?.rowsSource] : [counted?.rowsSource, counted?.rowsTarget];
    return { ...one, atFlip: source === undefined || target === undefined ? null : { source, target } };
  });
}

function evidenceOf({ verify, comparisons, checks, findings, setAside, audit }: ReportFacts): ReportedEvidence {
  return {
    verify:
      verify === undefined
        ? null
        : {
            lsn: verify.at.lsn,
            tables: verify.tables.length,
            rows: verify.tables.reduce((sum, { rowsSource }) => sum + (rowsSource ?? 0), 0),
            differences: verify.differences,
            inconclusive: verify.inconclusive,
          },
    comparisons,
    checks,
    backups: (['source', 'target'] as const).flatMap((of) => {
      const last = lastBackup(audit.records, of);
      return last === undefined ? [] : [describeBackup(of, last)];
    }),
    findings: findings.map(findingOf),
    setAside,
  };
}

function findingOf({ to, kind, state, rows, steps }: DriftFinding): ReportedFinding {
  const time = (ms: number | undefined): string => new Date(ms ?? 0).toISOString();
  return { to, kind, state, rows, firstAt: time(steps[0]?.atMs), lastAt: time(steps.at(-1)?.atMs) };
}

/** What the file asks for, signed or not, and whatever else was signed. */
function approvalsOf(required: readonly RequiredApproval[], approvals: readonly Approval[]): ReportedApproval[] {
  const subjects = [...new Set([...required.map(({ subject }) => subject), ...approvals.map(({ subject }) => subject)])];
  return subjects.map((subject) => ({
    subject,
    required: required.find((one) => one.subject === subject) ?? null,
    given: approvals
      .filter((one) => one.subject === subject)
      .map(({ person, at, planHash, reason }) => ({ person, at, plan: planHash, reason: reason ?? null })),
  }));
}

/** Different people, under whatever plan. */
export function peopleOf(given: readonly { readonly person: string }[]): number {
  return new Set(given.map(({ person }) => personKey(person))).size;
}
