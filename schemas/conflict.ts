/**
 * What becomes of a row of the target that others wrote. Guarantee: total and pure; what the change found or leaves is never a conflict, so neither is a
 * change that is applied again.
 */
import type { ConflictPolicy } from './mapping/compiled-mapping.ts';

/**
 * `insert`: the row was not there before the change, and there is another one. `update`: there is another one than before the change, and than behind
 * it. `delete`: what is to go is another row than the source's. `missing`: the row that is to be changed is gone. `copy`: a row of the copy finds
 * another one.
 */
const CONFLICT_KINDS = ['insert', 'update', 'delete', 'missing', 'copy'] as const;
type ConflictKind = (typeof CONFLICT_KINDS)[number];
export type ConflictName = `${ConflictKind}/${'source' | 'target'}`;

export const CONFLICT_NAMES: readonly ConflictName[] = CONFLICT_KINDS.flatMap((kind) => [`${kind}/source`, `${kind}/target`] as const);

/** What was found under one key. */
export interface FoundRow {
  /** Undefined: there is no row. */
  readonly row:
    | {
        /** As before the change, as behind it, or as between two that are applied at once. */
        readonly isExpected: boolean;
        /** By the column of the policy. */
        readonly isNewer: boolean;
      }
    | undefined;
  /** The source has no row any more. */
  readonly deletes: boolean;
  readonly isNew: boolean;
  readonly mayLack: boolean;
}

/** Undefined: none. */
export function conflictOf(policy: ConflictPolicy, found: FoundRow): ConflictName | undefined {
  const { row, deletes, isNew, mayLack } = found;
  if (row?.isExpected === true || (row === undefined && (mayLack || deletes))) return undefined;
  const kind: ConflictKind = row === undefined ? 'missing' : deletes ? 'delete' : isNew ? 'insert' : 'update';
  return `${kind}/${winner(policy, row)}`;
}

/** Of two rows. A row that is gone has no version: by `newer-wins` it comes back. */
function winner(policy: ConflictPolicy, row: FoundRow['row']): 'source' | 'target' {
  if (policy === 'target-wins') return 'target';
  return policy !== 'source-wins' && row?.isNewer === true ? 'target' : 'source';
}
