/**
 * Of which tables digests can be kept. Guarantee: of the others it is said why not, so that none is passed over; `verify` compares those too.
 */
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { isComputed } from '#schemas/mapping/compiled-mapping.ts';
import { keepsUnmarked } from '#schemas/mapping/kept-rows.ts';
import type { ValueForm } from '#schemas/reconcile/canonical-form.ts';
import { standingOf } from '#schemas/reconcile/column-standing.ts';
import type { TypeParts } from '#schemas/reconcile/type-parts.ts';

export type Keepable =
  | { readonly kind: 'kept'; readonly mapping: TableMapping; readonly forms: readonly ValueForm[] }
  | { readonly kind: 'refused'; readonly mapping: TableMapping; readonly why: string };

export interface SourceTypes {
  /** The source's major version. */
  readonly version: number;
  readonly parts: TypeParts;
}

export function keepable({ tables }: Pick<CompiledMapping, 'tables'>, types: SourceTypes): readonly Keepable[] {
  return tables.map((mapping): Keepable => {
    const why = shapeRefusal(mapping);
    if (why !== undefined) return { kind: 'refused', mapping, why };
    const forms: ValueForm[] = [];
    for (const [i, column] of mapping.columns.entries()) {
      const standing = standingOf(column, { ...types, computed: isComputed(mapping.steps, i) });
      if (standing.kind === 'refused') return { kind: 'refused', mapping, why: `column ${column.target}: ${standing.why}` };
      if (mapping.targetKey.includes(column.target) && (standing.form !== 'exact' || isComputed(mapping.steps, i)))
        return { kind: 'refused', mapping, why: `the key column ${column.target} is not the source's text` };
      forms.push(standing.form);
    }
    return { kind: 'kept', mapping, forms };
  });
}

function shapeRefusal(mapping: TableMapping): string | undefined {
  if (mapping.sourceKey.length === 0 || mapping.targetKey.length === 0) return 'it has no key, by which digests could be kept';
  if (mapping.explode !== undefined) return 'its rows are the elements of an array';
  if (mapping.merge !== undefined || mapping.share !== undefined) return 'several source tables share the target table';
  if (mapping.scope !== undefined) return 'rows of others stand in the target table';
  if (keepsUnmarked(mapping)) return 'the target keeps rows that the source deletes, and nothing tells them from others';
  return undefined;
}
