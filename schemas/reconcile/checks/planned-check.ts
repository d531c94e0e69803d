/**
 * What verify is to evaluate besides the rows, with names resolved. Guarantee: a query is written over *views*, in which each column is the
 * canonical text that source and target have in common; so the same query on both sides asks the same question.
 */
import type { CheckEntry, Tolerance } from '#schemas/config/check-entry.ts';
import type { ShadowTiming } from '#schemas/config/shadow-entry.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';

/** Rows of these pairs: a FROM item with columns c0, c1 … */
export interface CheckView {
  readonly pairs: readonly TableMapping[];
  /** Of the target. */
  readonly columns: readonly string[];
}

/** Rows of texts: the first `keys` columns tell a row from others, the rest is compared. */
export interface QueryCheck {
  readonly kind: Exclude<CheckEntry['kind'], 'sql'>;
  readonly name: string;
  readonly views: readonly CheckView[];
  /** `from[i]` is the FROM item of `views[i]`. */
  readonly sql: (from: readonly string[]) => string;
  readonly keys: number;
  readonly columns: readonly ResultColumn[];
  readonly tolerance: Tolerance;
}

export interface ResultColumn {
  readonly label: string;
  /** Numbers and moments are shown; any other value of a row is not. */
  readonly shown: boolean;
  readonly numeric: boolean;
}

export interface SqlCheck {
  readonly kind: 'sql';
  readonly name: string;
  /** Absent: `expect`. */
  readonly source?: QueryText;
  readonly target: QueryText;
  readonly expect?: string | null;
  readonly ordered: boolean;
  readonly timeoutSeconds: number;
  readonly tolerance: Tolerance;
}

/** A query cut at its tables; `texts` has one piece more than `tables`. */
export interface QueryText {
  readonly texts: readonly string[];
  /** Pairs whose rows stand there. */
  readonly tables: readonly (readonly TableMapping[])[];
}

export interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** Of the target, whether it has the constraint or only the source has. */
export interface MappedForeignKey {
  readonly name: string;
  readonly child: TableName;
  readonly columns: readonly string[];
  readonly parent: TableName;
  readonly parentColumns: readonly string[];
  readonly onTarget: 'valid' | 'not valid' | 'absent';
  /** Equality of some column is an extension's. */
  readonly ofExtension?: true;
}

export interface OrphanCheck {
  readonly kind: 'orphans';
  readonly name: string;
  readonly foreignKey: MappedForeignKey;
  readonly pairs: readonly TableMapping[];
  /** Child and parent, by the columns of the key; absent: what the source has cannot be asked in SQL. */
  readonly views?: readonly [CheckView, CheckView];
}

/** A critical query of the application, as the file has it under `shadow:`. */
export interface ShadowCheck {
  readonly kind: 'shadow';
  readonly name: string;
  readonly source: QueryText;
  readonly target: QueryText;
  /** Values of $1, $2 …: the query is asked with each set. */
  readonly parameters: readonly (readonly (string | null)[])[];
  readonly ordered: boolean;
  /** Columns of the answer that may differ. */
  readonly ignore: readonly string[];
  readonly tolerance: Tolerance;
  readonly timing: ShadowTiming;
}

export type PlannedCheck = QueryCheck | SqlCheck | OrphanCheck | ShadowCheck;

/** All that a check reads. */
export function pairsOf(check: PlannedCheck): readonly TableMapping[] {
  switch (check.kind) {
    case 'orphans':
      return check.pairs;
    case 'shadow':
    case 'sql':
      return [...(check.source?.tables ?? []), ...check.target.tables].flat();
    default:
      return check.views.flatMap(({ pairs }) => pairs);
  }
}
