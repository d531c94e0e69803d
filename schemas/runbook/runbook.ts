/** What a runbook is made of: the plan, the file's people, and what this very migration has measured. */
import type { ApprovalState } from '../migration/approvals.ts';
import type { MigrationState, Side } from '../migration/transitions.ts';
import type { PlanDocument } from '../plan/plan-document.ts';
import type { ReportedAct } from '../report/acts.ts';

export interface Runbook {
  /** As it was typed: the commands name it. */
  readonly file: string;
  /** Commands need no `-f` for it. */
  readonly isDefaultFile: boolean;
  readonly target: string | undefined;
  /** Of a file that moves in waves. */
  readonly wave: string | undefined;
  readonly writtenAt: string;
  readonly plan: PlanDocument;
  readonly state: MigrationState | null;
  readonly serves: Side;
  readonly approvals: readonly ApprovalState[];
  readonly contacts: readonly { readonly role: string; readonly who: string }[];
  readonly acts: readonly ReportedAct[];
  /** Why nothing goes back; absent: it does. */
  readonly noWayBack?: string;
  readonly isOnKafka: boolean;
  readonly hasTests: boolean;
  readonly hasChecks: boolean;
  readonly hasSchemaSteps: boolean;
  /** The cut-over is a rename swap. */
  readonly swapsNames?: boolean;
  /** The application writes both stores, in stages. */
  readonly isDualWrite: boolean;
  readonly cleanupAfterMs: number;
  /** Absent: the file asks for no time. */
  readonly observe?: { readonly forMs: number; readonly everyMs: number };
  /** What is known of the backup that the file asks for; absent: it asks for none. */
  readonly backup?: { readonly of: 'source' | 'target'; readonly last: string | null };
  readonly triggers: readonly string[];
}

/** The last drill or flip of the kind that says how long writers waited; a real one counts as much as a drill. */
export function lastMeasured(acts: readonly ReportedAct[], kind: 'cutover' | 'rollback'): ReportedAct | undefined {
  return acts.findLast((act) => act.blockMs !== null && (act.kind === kind || act.kind === `${kind}-drill`));
}
