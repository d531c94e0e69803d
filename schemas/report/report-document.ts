/**
 * What became of a migration, as a document for whoever was not there (`crossfade report`). Guarantee: plain data without a secret and without a row's
 * value; what is not known is null, never zero.
 */
import type { RequiredApproval } from '../migration/approvals.ts';
import type { AuditHead, AuditRecord } from '../migration/audit-record.ts';
import type { MigrationState, Side } from '../migration/transitions.ts';
import type { PlanPlace } from '../plan/plan-document.ts';
import type { ReportedAct } from './acts.ts';
import type { Remnant } from './remnant.ts';

export interface ReportDocument {
  readonly name: string;
  readonly target: string | null;
  /** In UTC. */
  readonly writtenAt: string;
  readonly crossfade: string;
  readonly source: PlanPlace;
  readonly targetPlace: PlanPlace;
  readonly state: MigrationState | null;
  readonly serves: Side;
  readonly plans: readonly ReportedPlan[];
  readonly tables: readonly ReportedTable[];
  readonly acts: readonly ReportedAct[];
  readonly evidence: ReportedEvidence;
  readonly approvals: readonly ReportedApproval[];
  readonly incidents: readonly ReportedIncident[];
  readonly audit: ReportedAudit;
  readonly remnants: readonly Remnant[];
  /** What could not be read, so that nothing is taken for complete that is not. */
  readonly unread: readonly string[];
}

export interface ReportedPlan {
  readonly hash: string;
  readonly signed: boolean;
  readonly since: string;
}

export interface ReportedTable {
  readonly from: string;
  readonly to: string;
  readonly phase: string;
  readonly error: string | null;
  readonly rowsCopied: number;
  readonly changesApplied: number;
  /** Of dual writes, by kind and whose row stayed: `update/target`. */
  readonly conflicts: Readonly<Record<string, number>>;
  /** Rows of both sides in the comparison before the last flip that was made. */
  readonly atFlip: { readonly source: number; readonly target: number } | null;
  readonly now: { readonly source: TableSize | null; readonly target: TableSize | null };
}

export interface TableSize {
  readonly rows: number;
  /** Counted, not estimated by the server. */
  readonly isExact: boolean;
  readonly bytes: number;
}

export interface ReportedEvidence {
  /** The last verify that was run from here. */
  readonly verify: {
    readonly lsn: string | null;
    readonly tables: number;
    readonly rows: number;
    readonly differences: number;
    readonly inconclusive: number;
  } | null;
  /** Of the comparison beside the pipeline, the last one of each table. */
  readonly comparisons: readonly ReportedComparison[];
  /** Of the file's checks and shadow queries, the last verdict of each that was made beside the pipeline. */
  readonly checks: readonly ReportedCheck[];
  /** In words; the last of each side that was recorded. */
  readonly backups: readonly string[];
  readonly findings: readonly ReportedFinding[];
  readonly setAside: number | null;
}

export interface ReportedComparison {
  readonly to: string;
  readonly at: string;
  readonly lsn: string | null;
  readonly rows: number;
  readonly verdict: string;
  readonly differences: number;
  /** Comparisons of this table that are still remembered. */
  readonly times: number;
}

/** Of values only numbers and moments, as a verdict has them. */
export interface ReportedCheck {
  readonly name: string;
  readonly kind: string;
  readonly at: string;
  readonly lsn: string | null;
  readonly verdict: string;
  readonly source: string | null;
  readonly target: string | null;
  readonly message: string;
  /** Verdicts that are still remembered. */
  readonly times: number;
}

export interface ReportedFinding {
  readonly to: string;
  readonly kind: string;
  readonly state: string;
  readonly rows: number;
  readonly firstAt: string;
  readonly lastAt: string;
}

export interface ReportedApproval {
  readonly required: RequiredApproval | null;
  readonly subject: string;
  readonly given: readonly { readonly person: string; readonly at: string; readonly plan: string; readonly reason: string | null }[];
}

export interface ReportedIncident {
  readonly at: string;
  readonly what: string;
  /** Nothing is to be done any more. */
  readonly isOver: boolean;
}

export interface ReportedAudit {
  readonly ok: boolean;
  /** Where the chain breaks, and how. */
  readonly why: string | null;
  readonly head: AuditHead;
  readonly records: readonly AuditRecord[];
}
