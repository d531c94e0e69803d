/**
 * The catalogue that a Redis target does not have. Guarantee: every table that the file matches is there under its target name, with the
 * columns that the file leaves in, under their target names, and with the source's key; so the mapping compiles as for any target.
 */
import type { MigrationFile, TableEntry } from '#schemas/config/migration-file.ts';
import { identityColumns, type Catalog, type CatalogColumn, type CatalogTable } from '#schemas/table.ts';
import { FindingList } from '../finding-list.ts';
import { resolveTables } from '../resolve-tables.ts';

export function redisCatalog(file: MigrationFile, source: Catalog): Catalog {
  const empty: Catalog = { ...source, database: 'redis', tables: [], oddities: [] };
  // What is wrong with the resolution is reported when the mapping is compiled.
  const resolved = resolveTables(file, source, empty, new FindingList(file.path));
  return { ...empty, tables: resolved.map(({ source: table, entry, to }) => ({ ...tableOf(table, entry), ...to })) };
}

function tableOf(table: CatalogTable, entry: TableEntry): CatalogTable {
  const named = (name: string): string => (Object.hasOwn(entry.columns, name) ? entry.columns[name]?.to : undefined) ?? name;
  const kept = table.columns.filter(({ name, generated }) => generated === '' && entry.columns[name]?.drop !== true);
  const byName = new Map(kept.map((column) => [named(column.name), plain(column, named(column.name))]));
  const { identityKey: _identity, primaryKey: _primary, ...shape } = table;
  const key = identityColumns(table);
  const own = table.replicaIdentity === 'i' ? table.identityKey : table.primaryKey;
  return {
    ...shape,
    kind: 'r',
    columns: [...byName.values()],
    ...(key !== undefined && {
      primaryKey: { indexName: 'key', columns: key.map(named), ...(own?.inexact === true && { inexact: true }) },
    }),
    uniqueKeys: [],
    foreignKeys: [],
    triggers: [],
    leaves: [],
    rowEstimate: 0,
  };
}

/** A field of a row takes whatever the source has. */
function plain(column: CatalogColumn, name: string): CatalogColumn {
  return { ...column, name, notNull: false, identity: '', hasDefault: false };
}
