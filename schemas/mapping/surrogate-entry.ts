/**
 * What `key: { surrogate: COLUMN }` makes of a table's entry. Guarantee: the source's key column goes to the surrogate column, and where it
 * also goes elsewhere (a trace of the old key) that is a plain copy, as if the file had said so under `set`.
 */
import type { TableEntry } from '../config/migration-file.ts';
import { identityColumns, type CatalogTable } from '../table.ts';

interface Placed {
  readonly entry: TableEntry;
  readonly source: CatalogTable;
  readonly target?: CatalogTable;
}

/** The one column that is the source's key; undefined where it has several, or none. */
export function soleKey(source: CatalogTable): string | undefined {
  const key = identityColumns(source) ?? [];
  return key.length === 1 ? key[0] : undefined;
}

export function withSurrogate({ entry, source, target }: Placed): TableEntry {
  const key = soleKey(source);
  if (entry.key === undefined || key === undefined) return entry;
  const own = Object.hasOwn(entry.columns, key) ? entry.columns[key] : undefined;
  const place = own ?? entry.key;
  const { line, column } = place;
  const columns = { ...entry.columns, [key]: { to: entry.key.surrogate, drop: false, line, column } };
  const trace = traceOf({ entry, source, ...(target !== undefined && { target }) });
  if (trace === undefined || Object.hasOwn(entry.set ?? {}, trace)) return { ...entry, columns };
  return { ...entry, columns, set: { ...entry.set, [trace]: { from: [key], steps: [], line, column } } };
}

/** Target column that the old key goes to besides. */
export function traceOf({ entry, source, target }: Placed): string | undefined {
  const key = soleKey(source)!;
  const own = Object.hasOwn(entry.columns, key) ? entry.columns[key] : undefined;
  if (own?.drop === true) return undefined;
  const name = own?.to ?? (target?.columns.some((column) => column.name === key) === true ? key : undefined);
  return name === entry.key?.surrogate ? undefined : name;
}
