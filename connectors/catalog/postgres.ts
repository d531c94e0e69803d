/**
 * Reads a PostgreSQL catalogue. Guarantee: every user table of the schemas asked for, as schemas/table.ts describes it, with leaves
 * folded into the root of their partition tree; catalogue reads only, so a role with SELECT on the tables is enough, and the number of
 * queries does not grow with the number of tables. Works on PostgreSQL 14 to 18.
 */
import type pg from 'pg';
import { invariant } from '#schemas/errors.ts';
import type {
  Catalog,
  CatalogCheck,
  CatalogColumn,
  CatalogForeignKey,
  CatalogKey,
  CatalogLeaf,
  CatalogOddity,
  CatalogSequence,
  CatalogTable,
  CatalogType,
  ReplicaIdentity,
} from '#schemas/table.ts';
import * as queries from './queries.ts';

export interface ReadCatalogOptions {
  /** Absent: all user schemas. */
  readonly schemas?: readonly string[];
}

interface ServerRow {
  readonly serverVersion: number;
  readonly searchPath: string;
  readonly database: string;
  readonly encoding: string;
  readonly collation: string;
  readonly largeObjects: number;
  readonly schemas: readonly string[] | null;
  readonly extensions: Catalog['extensions'] | null;
  readonly casts: readonly string[] | null;
}

interface RelationRow {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'r' | 'p';
  readonly partition: boolean;
  readonly replicaIdentity: ReplicaIdentity;
  readonly unlogged: boolean;
  readonly rowSecurity: boolean;
  readonly relfilenode: number;
  readonly tuples: number;
  readonly pages: number;
  readonly heapBytes: number;
  readonly bytes: number;
  readonly liveTuples: number;
  readonly root: number | null;
  readonly partitionKey: string | null;
  readonly extension: string | null;
}

interface IndexRow {
  readonly table: number;
  readonly name: string;
  readonly primary: boolean;
  readonly replicaIdentity: boolean;
  readonly columns: readonly string[];
  readonly nullable: boolean;
  readonly inexact: boolean;
}

interface ConstraintRow {
  readonly table: number;
  readonly name: string;
  readonly type: 'f' | 'c';
  readonly deferrable: boolean;
  readonly definition: string;
  readonly toSchema: string | null;
  readonly toTable: string | null;
  readonly columns: readonly string[] | null;
  readonly toColumns: readonly string[] | null;
}

interface Parts {
  readonly columns: ReadonlyMap<number, readonly CatalogColumn[]>;
  readonly indexes: ReadonlyMap<number, readonly IndexRow[]>;
  readonly constraints: ReadonlyMap<number, readonly ConstraintRow[]>;
  readonly triggers: ReadonlyMap<number, readonly { readonly name: string; readonly always: boolean }[]>;
}

/** The session must be one of ours (search_path pg_catalog): type names and expressions then carry their schema. */
export async function readCatalog(client: pg.ClientBase, options: ReadCatalogOptions = {}): Promise<Catalog> {
  const schemas = options.schemas === undefined ? null : [...options.schemas];
  const read = async <T>(sql: string): Promise<T[]> => {
    const result = await client.query<{ j: string }>(sql, [schemas]);
    return result.rows.map((row) => dropNulls(JSON.parse(row.j) as object) as T);
  };
  const [server] = await read<ServerRow>(queries.SERVER_QUERY);
  invariant(server !== undefined, 'the server describes its own database');
  invariant(server.searchPath === 'pg_catalog', `a catalogue is read with search_path pg_catalog, not ${server.searchPath}`);
  const relations = await read<RelationRow>(queries.RELATION_QUERY);
  const parts: Parts = {
    columns: byTable(await read<CatalogColumn & { readonly table: number }>(queries.COLUMN_QUERY)),
    indexes: byTable(await read<IndexRow>(queries.INDEX_QUERY)),
    constraints: byTable(await read<ConstraintRow>(queries.CONSTRAINT_QUERY)),
    triggers: byTable(await read<{ table: number; name: string; always: boolean }>(queries.TRIGGER_QUERY)),
  };
  const tables = foldLeaves(relations, parts);
  const oddities = await read<CatalogOddity>(queries.ODDITY_QUERY);
  return {
    serverVersion: server.serverVersion,
    database: server.database,
    encoding: server.encoding,
    collation: server.collation,
    tables,
    types: await read<CatalogType>(queries.TYPE_QUERY),
    sequences: await read<CatalogSequence>(queries.SEQUENCE_QUERY),
    oddities: [...oddities, ...unloggedTables(relations)],
    extensions: server.extensions ?? [],
    schemas: server.schemas ?? [],
    largeObjects: server.largeObjects,
    casts: server.casts ?? [],
  };
}

/** SQL's NULL is an absent property here, as the catalogue's types have it. */
function dropNulls(row: object): object {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
}

function byTable<T extends { readonly table: number }>(rows: readonly T[]): Map<number, Omit<T, 'table'>[]> & Map<number, never> {
  const groups = new Map<number, Omit<T, 'table'>[]>();
  for (const { table, ...rest } of rows) {
    const group = groups.get(table);
    if (group === undefined) groups.set(table, [rest]);
    else group.push(rest);
  }
  return groups as Map<number, Omit<T, 'table'>[]> & Map<number, never>;
}

function unloggedTables(relations: readonly RelationRow[]): CatalogOddity[] {
  return relations
    .filter((row) => row.unlogged && row.extension === undefined)
    .map(({ schema, name }) => ({ kind: 'unlogged-table', schema, name }));
}

function foldLeaves(relations: readonly RelationRow[], parts: Parts): CatalogTable[] {
  const leaves = new Map<number, CatalogLeaf[]>();
  for (const row of relations) {
    if (!row.partition || row.kind !== 'r' || row.root === undefined || row.root === null) continue;
    const group = leaves.get(row.root) ?? [];
    group.push(toLeaf(row, parts.indexes.get(row.oid) ?? []));
    leaves.set(row.root, group);
  }
  return relations.filter((row) => !row.partition).map((row) => toTable(row, parts, leaves.get(row.oid) ?? []));
}

function toLeaf(row: RelationRow, indexes: readonly IndexRow[]): CatalogLeaf {
  const identityKey = identityIndex(row, indexes);
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    relfilenode: row.relfilenode,
    replicaIdentity: row.replicaIdentity,
    rowEstimate: estimateRows(row),
    bytes: row.bytes,
    unlogged: row.unlogged,
    ...(identityKey !== undefined && { identityKey }),
  };
}

function toTable(row: RelationRow, parts: Parts, leaves: readonly CatalogLeaf[]): CatalogTable {
  const indexes = parts.indexes.get(row.oid) ?? [];
  const constraints = parts.constraints.get(row.oid) ?? [];
  const primary = indexes.find((index) => index.primary);
  const identityKey = identityIndex(row, indexes);
  const sum = (of: (leaf: CatalogLeaf) => number): number => leaves.reduce((total, leaf) => total + of(leaf), 0);
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    kind: row.kind,
    columns: parts.columns.get(row.oid) ?? [],
    ...(primary !== undefined && { primaryKey: toKey(primary) }),
    uniqueKeys: indexes.filter((index) => !index.primary && !index.nullable).map(toKey),
    nullableUniqueKeys: indexes.filter((index) => !index.primary && index.nullable).map(toKey),
    replicaIdentity: row.replicaIdentity,
    ...(identityKey !== undefined && { identityKey }),
    foreignKeys: constraints.filter((one) => one.type === 'f').map(toForeignKey),
    checks: constraints.filter((one) => one.type === 'c').map(({ name, definition }): CatalogCheck => ({ name, definition })),
    triggers: parts.triggers.get(row.oid) ?? [],
    unlogged: row.unlogged,
    rowEstimate: row.kind === 'p' ? sum((leaf) => leaf.rowEstimate) : estimateRows(row),
    bytes: row.kind === 'p' ? sum((leaf) => leaf.bytes) : row.bytes,
    relfilenode: row.relfilenode,
    rowSecurity: row.rowSecurity,
    leaves,
    ...(row.extension !== undefined && row.extension !== null && { extension: row.extension }),
    ...(row.partitionKey !== undefined && row.partitionKey !== null && { partitionKey: row.partitionKey }),
  };
}

function identityIndex(row: RelationRow, indexes: readonly IndexRow[]): CatalogKey | undefined {
  const index = row.replicaIdentity === 'i' ? indexes.find((one) => one.replicaIdentity) : undefined;
  return index === undefined ? undefined : toKey(index);
}

function toKey(index: IndexRow): CatalogKey {
  return { indexName: index.name, columns: index.columns, ...(index.inexact && { inexact: true }) };
}

function toForeignKey(row: ConstraintRow): CatalogForeignKey {
  return {
    name: row.name,
    columns: row.columns ?? [],
    toSchema: row.toSchema ?? '',
    toTable: row.toTable ?? '',
    toColumns: row.toColumns ?? [],
    deferrable: row.deferrable,
    definition: row.definition,
  };
}

/** Bytes a row takes when nothing better is known: a table that was never analysed. */
const ROW_BYTES_GUESS = 100;

/** The planner's own method: density of the last analyse times the size of now. */
function estimateRows(row: RelationRow): number {
  if (row.tuples > 0 && row.pages > 0) return Math.round((row.tuples / row.pages) * (row.heapBytes / 8192));
  if (row.liveTuples > 0) return row.liveTuples;
  return row.tuples < 0 ? Math.round(row.heapBytes / ROW_BYTES_GUESS) : 0;
}
