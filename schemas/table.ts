/** Shapes of tables as the catalogues tell them. Guarantee: plain immutable data, no behaviour that depends on a server. */

/** `d` default (primary key) · `i` a unique index · `f` full row · `n` nothing. */
export type ReplicaIdentity = 'd' | 'i' | 'f' | 'n';

export interface CatalogColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** `format_type(oid, typmod)`: how the type is written in SQL, with its modifier. */
  readonly type: string;
  /** `format_type(oid, -1)`: the same without the modifier, for casts that must not truncate. */
  readonly baseType: string;
  /** pg_type.typtype of the type: b base, c composite, d domain, e enum, r range, m multirange. */
  readonly typtype: string;
  /** True when the type lives in pg_catalog, so the same name exists on every server. */
  readonly builtin: boolean;
  /** Element type OID when the type is an array, else 0. */
  readonly elementOid: number;
  readonly notNull: boolean;
  /** '' plain · 's' stored generated · 'v' virtual generated. */
  readonly generated: '' | 's' | 'v';
  /** '' none · 'a' GENERATED ALWAYS AS IDENTITY · 'd' BY DEFAULT. */
  readonly identity: '' | 'a' | 'd';
  readonly hasDefault: boolean;
  /** pg_type.typlen: -1 means it may be TOASTed. */
  readonly typeLength: number;
}

export interface CatalogKey {
  readonly indexName: string;
  readonly columns: readonly string[];
}

export interface CatalogForeignKey {
  readonly name: string;
  readonly columns: readonly string[];
  readonly toSchema: string;
  readonly toTable: string;
  readonly toColumns: readonly string[];
  readonly deferrable: boolean;
}

export interface CatalogTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** r ordinary · p partitioned root. Leaves are in `leaves` of their root and not listed on their own. */
  readonly kind: 'r' | 'p';
  /** In attribute order, dropped ones left out. */
  readonly columns: readonly CatalogColumn[];
  readonly primaryKey?: CatalogKey;
  /** Unique, valid, immediate indexes over not-null plain columns, the primary key left out. */
  readonly uniqueKeys: readonly CatalogKey[];
  readonly replicaIdentity: ReplicaIdentity;
  /** Columns of the index named by REPLICA IDENTITY USING INDEX. */
  readonly identityKey?: CatalogKey;
  readonly foreignKeys: readonly CatalogForeignKey[];
  /** Names of enabled user triggers; `always` = ENABLE ALWAYS or REPLICA, fires under session_replication_role=replica too. */
  readonly triggers: readonly { readonly name: string; readonly always: boolean }[];
  readonly unlogged: boolean;
  readonly rowEstimate: number;
  readonly bytes: number;
  readonly relfilenode: number;
  readonly rowSecurity: boolean;
  readonly leaves: readonly CatalogLeaf[];
}

export interface CatalogLeaf {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly relfilenode: number;
  readonly replicaIdentity: ReplicaIdentity;
  readonly rowEstimate: number;
  readonly bytes: number;
}

/** Columns that identify a row in the stream and in chunks: replica identity index, else primary key; undefined = keyless. */
export function identityColumns(table: CatalogTable): readonly string[] | undefined {
  if (table.replicaIdentity === 'i' && table.identityKey) return table.identityKey.columns;
  return table.primaryKey?.columns;
}

/** `"schema"."table"`, safe in SQL. */
export function quoteTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdent(table.schema)}.${quoteIdent(table.name)}`;
}

/** Quotes one identifier. @throws Error on a NUL, which PostgreSQL cannot hold. */
export function quoteIdent(name: string): string {
  if (name.includes('\0')) throw new Error('an identifier cannot hold a NUL');
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a text literal so that it means the same with any setting of standard_conforming_strings. */
export function quoteLiteral(text: string): string {
  const quoted = text.replaceAll("'", "''");
  return quoted.includes('\\') ? ` E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}
