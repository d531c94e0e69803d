/** What the target says of a migration, whichever kind of store it is. */
import type { Renames } from '#schemas/mapping/compiled-mapping.ts';
import type { Approval } from '#schemas/migration/approvals.ts';
import type { MigrationRow } from '#schemas/migration/migration-row.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { ReportedCheck, ReportedComparison, ReportedPlan } from '#schemas/report/report-document.ts';
import type { AuditTrail } from '#connectors/target/postgres/audit.ts';
import type { TableProgress } from '#connectors/target/target.ts';

export interface TargetFacts {
  /** Undefined: no act was ever thought of. */
  readonly row: MigrationRow | undefined;
  readonly plans: readonly ReportedPlan[];
  readonly tables: readonly TableProgress[];
  readonly setAside: number | null;
  /** Of a rename swap, as it stands. */
  readonly renames: Renames;
  readonly audit: AuditTrail;
  readonly comparisons: readonly ReportedComparison[];
  readonly checks: readonly ReportedCheck[];
  readonly findings: readonly DriftFinding[];
  readonly approvals: readonly Approval[];
}
