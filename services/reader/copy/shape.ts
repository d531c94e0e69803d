/**
 * What a change of a table's shape means for its copy. Guarantee: no change that rewrites values without a message passes for
 * nothing, and none that the mapping does not cover passes at all.
 */
import type { ShapeColumn } from '#connectors/source/copy-source.ts';

export type ShapeChange =
  | { readonly kind: 'none' }
  /** Values may have been rewritten without a message: the table is copied again. */
  | { readonly kind: 'rewritten'; readonly what: string }
  /** The mapping does not cover it: the table is held. */
  | { readonly kind: 'uncovered'; readonly what: string };

export interface ShapePolicy {
  /** Source columns that the mapping writes or filters by. */
  readonly mapped: ReadonlySet<string>;
  /** Columns that the file drops. */
  readonly dropped: ReadonlySet<string>;
  /** The file says `unmapped: ignore`. */
  readonly ignoresUnmapped: boolean;
}

/** Compares columns by name: a leaf's order need not be its root's. */
export function compareShapes(was: readonly ShapeColumn[], now: readonly ShapeColumn[], policy: ShapePolicy): ShapeChange {
  const before = new Map(was.map((column) => [column.name, column]));
  const after = new Map(now.map((column) => [column.name, column]));
  for (const name of before.keys()) {
    if (!after.has(name) && policy.mapped.has(name)) return { kind: 'uncovered', what: `column ${name} is gone or was renamed` };
  }
  let rewritten: string | undefined;
  for (const [name, column] of after) {
    const old = before.get(name);
    if (!old) {
      if (policy.mapped.has(name)) rewritten ??= `column ${name} was added`;
      else if (!policy.ignoresUnmapped && !policy.dropped.has(name))
        return { kind: 'uncovered', what: `column ${name} was added and is not mapped` };
    } else if ((old.typeOid !== column.typeOid || old.typmod !== column.typmod) && policy.mapped.has(name)) {
      rewritten ??= `column ${name} changed its type`;
    } else if (!isSameColumn(old, column) && policy.mapped.has(name)) {
      rewritten ??= `column ${name} was dropped and added again`;
    }
  }
  return rewritten === undefined ? { kind: 'none' } : { kind: 'rewritten', what: rewritten };
}

export function sameColumns(a: readonly ShapeColumn[], b: readonly ShapeColumn[]): boolean {
  if (a.length !== b.length) return false;
  const byName = new Map(b.map((column) => [column.name, column]));
  return a.every((column) => {
    const other = byName.get(column.name);
    return other !== undefined && other.typeOid === column.typeOid && other.typmod === column.typmod && isSameColumn(other, column);
  });
}

function isSameColumn(a: ShapeColumn, b: ShapeColumn): boolean {
  return a.number === undefined || b.number === undefined || a.number === b.number;
}
