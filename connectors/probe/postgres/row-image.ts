/**
 * A source row's values as the mapping's columns. Guarantee: columns that pass are the source's texts, computed ones come from the shared
 * row function, which the pipeline calls too (the report names these columns); a row without an image is never equal to any other.
 */
import { isComputed, sourceColumns, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { rowFunction, type Field } from '#schemas/mapping/steps/table-steps.ts';

/** In place of a value that the steps refuse. No text of PostgreSQL holds a NUL. */
export const REFUSED = '\0';

export type RowImage = (values: readonly Field[]) => Field[];

/** Names of all source columns that decide a row's image, its key and whether it is selected. */
export function readColumns(mapping: TableMapping): readonly string[] {
  const filtered = mapping.filter?.conditions.map((condition) => condition.column) ?? [];
  return [...new Set([...sourceColumns(mapping).map((column) => column.name), ...mapping.sourceKey, ...filtered])];
}

/** `names` are those of the values, in their order. */
export function rowImage({ columns, steps }: TableMapping, names: readonly string[]): RowImage {
  const direct = columns.filter((_, i) => !isComputed(steps, i)).map(({ source }) => names.indexOf(source.name));
  if (steps === undefined) return (values) => direct.map((at) => values[at]);
  const inputs = steps.inputs.map((input) => names.indexOf(input.name));
  const { compute } = rowFunction(steps);
  return (values) => {
    const computed: Field[] = steps.computed.map(() => null);
    const refusal = compute(
      inputs.map((at) => values[at]),
      computed,
    );
    if (refusal === undefined) return [...direct.map((at) => values[at]), ...computed];
    // Of a change that is not whole nothing is known yet; a whole row that is refused has no image.
    const none = inputs.some((at) => values[at] === undefined) ? undefined : REFUSED;
    return [...direct.map((at) => values[at]), ...computed.map(() => none)];
  };
}
