/**
 * What a migration file means for its two catalogues, as a document that people read and sign (`crossfade plan`). Guarantee: plain data
 * without a secret: no credentials, no key, and nothing that came out of the environment.
 */
import type { ErrorCode } from '../errors.ts';

export interface PlanDocument {
  readonly name: string;
  /** Of the document's meaning: what becomes of rows, and the policies. Volumes, comments and order are not in it. */
  readonly hash: string;
  readonly mappingHash: string;
  readonly versions: PlanVersions;
  readonly source: PlanPlace;
  readonly target: PlanPlace;
  /** Where changes rest on their way, in words. */
  readonly log: string;
  /** How much WAL the slot may hold back (null: any amount), and what becomes of the migration beyond it. */
  readonly slot: { readonly budgetBytes: number | null; readonly onBudget: 'warn' | 'drop' };
  /** SQL of the file's own on the target, in its order. */
  readonly schemaSteps: readonly PlanSchemaStep[];
  /** Queries that run on both stores before people rely on the target; absent: none. They decide nothing of rows, so the hash leaves them out. */
  readonly shadow?: readonly PlanShadow[];
  /** Nothing that is written on the target goes back to the source, as the file says; absent: each table as it says, or as follows from the mapping. */
  readonly reverse?: 'off';
  readonly scope: PlanScope;
  readonly tables: readonly PlanTable[];
  readonly warnings: readonly PlanWarning[];
  readonly method: readonly string[];
  readonly limits: readonly string[];
}

export interface PlanVersions {
  readonly crossfade: string;
  readonly grammar: 1;
  /** Edition of the time zone rules that zone steps follow. */
  readonly timeZones: string;
}

export interface PlanPlace {
  /** `PostgreSQL 18.4`, `Redis`. */
  readonly server: string;
  /** Without credentials and settings. */
  readonly address: string;
}

export interface PlanSchemaStep {
  readonly name: string;
  readonly up: string;
  readonly down: string;
  readonly verify: string;
}

export interface PlanShadow {
  readonly name: string;
  readonly source: string;
  readonly target: string;
  /** What may differ, in words. */
  readonly rules: string;
}

export interface PlanScope {
  readonly tables: number;
  /** Estimates of the source's own statistics. */
  readonly rows: number;
  readonly bytes: number;
  /** Tables of the source that this file does not move. */
  readonly leftOut: readonly string[];
  /** What else the source has and nothing moves: views, sequences … */
  readonly notMoved: readonly string[];
}

export interface PlanTable {
  readonly from: string;
  readonly to: string;
  readonly rows: number;
  readonly bytes: number;
  readonly partitions: number;
  readonly key: PlanKey;
  /** In the mapping's order. */
  readonly columns: readonly PlanColumn[];
  readonly dropped: readonly PlanDrop[];
  /** Source columns that go to other targets of the file and not to this one. */
  readonly elsewhere: readonly PlanElsewhere[];
  /** Target columns that nothing of this source goes to. */
  readonly unfed: readonly PlanUnfed[];
  /** Whose the target is besides, in words. */
  readonly sharing?: string;
  /** Conditions in words, all of which hold; empty: every row. */
  readonly filter: readonly string[];
  readonly policies: PlanPolicies;
  readonly redis?: { readonly key: string; readonly form: string; readonly ttlSeconds: number | null; readonly sets: readonly string[] };
  /** What the file declares of the way back: nothing goes, or what these columns of the source are made of; absent: it follows from the mapping. */
  readonly reverse?: 'none' | readonly PlanReturn[];
}

/** A column of the source, made of columns of the target. */
export interface PlanReturn {
  readonly column: string;
  readonly type: string;
  readonly from: readonly { readonly column: string; readonly type: string }[];
  /** In words, in the order in which it is done. */
  readonly conversion: readonly string[];
}

export interface PlanKey {
  readonly source: readonly string[];
  readonly target: readonly string[];
  /** The target's own primary key, where it is another one. */
  readonly primary: readonly string[];
  /** By what the stream tells of a changed row. */
  readonly identity: string;
}

export interface PlanColumn {
  readonly target: string;
  readonly type: string;
  readonly from: readonly { readonly column: string; readonly type: string }[];
  /** In words, in the order in which it is done. */
  readonly conversion: readonly string[];
  /** Why a value may come out as less than it was. */
  readonly lossy: readonly string[];
  /** Why the source's value cannot be told from the target. */
  readonly irreversible: readonly string[];
  readonly personal?: PlanPersonal;
}

export interface PlanPersonal {
  readonly kind: string;
  readonly treatment: string;
  /** It arrives as it is. */
  readonly inClear: boolean;
}

export interface PlanDrop {
  readonly column: string;
  readonly type: string;
  readonly why: string;
  readonly personal?: string;
}

export interface PlanElsewhere {
  readonly column: string;
  readonly type: string;
  readonly to: readonly string[];
}

export interface PlanUnfed {
  readonly column: string;
  readonly type: string;
  readonly becomes: string;
}

export interface PlanPolicies {
  readonly existing: 'refuse' | 'merge' | 'truncate';
  /** Of a row that the source deletes, of a TRUNCATE: what becomes of it, in words. */
  readonly deletes: string;
  readonly truncates: string;
  readonly onRowError: 'halt' | 'set-aside';
  readonly unmapped: 'error' | 'ignore';
  /** What becomes of a row that others wrote otherwise, in words; absent: it is overwritten, and not counted. */
  readonly conflict?: string;
}

export interface PlanWarning {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}
