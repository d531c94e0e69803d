/**
 * Rows that are mapped as they stand. Guarantee: what is passed on is what decoding the row and encoding it for the mapped topic would give.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { RowEncoder, WireFormat } from '#schemas/wire/wire.ts';

/** Every row of the source is a row of the target, column by column under the same names. */
export function isPlain({ columns, filter, steps }: TableMapping): boolean {
  return filter === undefined && steps === undefined && columns.every(({ source, target }) => source.name === target);
}

export interface Passed {
  readonly key: Buffer | undefined;
  readonly value: Buffer;
}

/** Undefined where the mapped topic's schema says anything else of the bytes. */
export function relabelled({ key, value }: Passed, to: { readonly format: WireFormat; readonly encoder: RowEncoder }): Passed | undefined {
  const mapped = to.format.relabel(value, 'value', to.encoder);
  if (mapped === undefined) return undefined;
  const mappedKey = key === undefined ? undefined : to.format.relabel(key, 'key', to.encoder);
  return mappedKey === undefined && key !== undefined ? undefined : { key: mappedKey, value: mapped };
}
