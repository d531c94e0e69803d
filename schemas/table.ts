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
  /** Of an array: what stands between its elements where that is no comma (box has a semicolon). */
  readonly delimiter?: string;
  /** Of an array declared with several; PostgreSQL does not hold values to it. */
  readonly dimensions?: number;
  readonly notNull: boolean;
  /** '' plain · 's' stored generated · 'v' virtual generated. */
  readonly generated: '' | 's' | 'v';
  /** '' none · 'a' GENERATED ALWAYS AS IDENTITY · 'd' BY DEFAULT. */
  readonly identity: '' | 'a' | 'd';
  readonly hasDefault: boolean;
  /** pg_type.typlen: -1 means it may be TOASTed. */
  readonly typeLength: number;
  /** Extension that owns the type (of an array: its element type): the same name there is the same type, in any schema. */
  readonly extension?: string;
  /** pg_type.typname (of an array: its element's), without schema. */
  readonly typeName?: string;
  /** What a domain rests on, down to the last type that is not a domain. */
  readonly domainBase?: Pick<
    CatalogColumn,
    'typeOid' | 'typmod' | 'type' | 'baseType' | 'typtype' | 'builtin' | 'elementOid' | 'delimiter' | 'extension' | 'typeName'
  >;
  /** The default, or the expression of a generated column, as SQL. */
  readonly defaultSql?: string;
  /** Sequence that the column owns (serial, identity). */
  readonly ownsSequence?: boolean;
  /** Collation other than the type's own, as SQL. */
  readonly collation?: string;
}

export interface CatalogKey {
  readonly indexName: string;
  readonly columns: readonly string[];
  /** True when a column's collation is nondeterministic: values with different text may be the same key. */
  readonly inexact?: boolean;
}

export interface CatalogCheck {
  readonly name: string;
  /** `CHECK (…)` as PostgreSQL prints it. */
  readonly definition: string;
}

export interface CatalogForeignKey {
  readonly name: string;
  readonly columns: readonly string[];
  readonly toSchema: string;
  readonly toTable: string;
  readonly toColumns: readonly string[];
  readonly deferrable: boolean;
  /** `FOREIGN KEY (…) REFERENCES …` as PostgreSQL prints it. */
  readonly definition?: string;
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
  /** Unique, valid, immediate indexes over not-null plain columns, the primary key left out; no inexact ones but a replica identity. */
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
  /** Unique, valid, immediate indexes of which some column may be null: good as an upsert's target, not as an identity. */
  readonly nullableUniqueKeys?: readonly CatalogKey[];
  readonly checks?: readonly CatalogCheck[];
  /** Extension that owns the table: globs leave it out. */
  readonly extension?: string;
  /** `RANGE (day)`: how a partitioned root is split. */
  readonly partitionKey?: string;
}

export interface CatalogLeaf {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly relfilenode: number;
  readonly replicaIdentity: ReplicaIdentity;
  readonly rowEstimate: number;
  readonly bytes: number;
  /** Columns of the leaf's own REPLICA IDENTITY USING INDEX. */
  readonly identityKey?: CatalogKey;
  readonly unlogged?: boolean;
}

/** A type made by a user (or an extension), for comparing and for CREATE statements. */
export interface CatalogType {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** d domain · e enum · c composite · r range. */
  readonly kind: 'd' | 'e' | 'c' | 'r';
  readonly extension?: string;
  readonly labels: readonly string[];
  readonly attributes: readonly { readonly name: string; readonly type: string }[];
  /** Base type of a domain, subtype of a range. */
  readonly base?: string;
  /** Of a domain or range, where it is not the base's own; as SQL. */
  readonly collation?: string;
  readonly notNull: boolean;
  readonly defaultSql?: string;
  readonly checks: readonly CatalogCheck[];
}

export interface CatalogSequence {
  readonly schema: string;
  readonly name: string;
  /** Column that owns it: `schema.table.column` parts. */
  readonly owner?: { readonly schema: string; readonly table: string; readonly column: string };
  /** As text: 64 bits. Undefined when never used or not visible to the role. */
  readonly lastValue?: string;
}

/** What logical replication does not carry, found in the schemas read. */
export interface CatalogOddity {
  readonly kind: 'view' | 'materialized-view' | 'foreign-table' | 'rule' | 'inheritance' | 'unlogged-table';
  readonly schema: string;
  readonly name: string;
}

export interface Catalog {
  /** server_version_num, for example 180004. */
  readonly serverVersion: number;
  readonly database: string;
  readonly encoding: string;
  readonly collation: string;
  readonly tables: readonly CatalogTable[];
  readonly types: readonly CatalogType[];
  readonly sequences: readonly CatalogSequence[];
  readonly oddities: readonly CatalogOddity[];
  readonly extensions: readonly { readonly name: string; readonly schema: string; readonly version: string }[];
  /** User schemas there are, also empty ones. */
  readonly schemas: readonly string[];
  readonly largeObjects: number;
  /** Casts between built-in types that this server has, as `int8 to bool` (pg_type names). Absent: not known. */
  readonly casts?: readonly string[];
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
