/** What a check of the target gets. Guarantee: a check only reads (a setting that it tries is rolled back). */
import type pg from 'pg';
import { queryRow } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import type { ExistingPolicy, Pair } from '#schemas/mapping/compiled-mapping.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';

export interface TargetFacts {
  readonly version: number;
  readonly database: string;
  readonly role: string;
  readonly superuser: boolean;
  readonly inRecovery: boolean;
  readonly readOnly: boolean;
  readonly encoding: string;
  readonly collation: string;
  readonly connectionLimit: number;
  /** Whether this role may SET session_replication_role = replica: foreign keys and plain triggers then rest. */
  readonly mayReplicaRole: boolean;
}

export interface TargetTable {
  readonly table: CatalogTable;
  readonly pair: Pair;
  /** Condition of the rows that are this pair's, where others have some, too. */
  readonly own: string | undefined;
  /** Others feed columns of the same rows. */
  readonly isMerged: boolean;
  readonly existing: ExistingPolicy;
  /** Column that hands out ids to rows of the source. */
  readonly surrogate?: string;
  readonly rowsExpected: number;
  /** Place of the table's entry in the file. */
  readonly place: { readonly path: string; readonly line: number; readonly column: number };
}

export interface TargetCheckInput {
  readonly client: pg.ClientBase;
  readonly facts: TargetFacts;
  readonly sourceCatalog: Pick<Catalog, 'encoding' | 'collation'> | undefined;
  /** The mapped ones that exist. */
  readonly tables: readonly TargetTable[];
  readonly chunkRows: number;
  readonly sessions: number;
  /** Pairs of which the target holds progress: rows that they have there are ours. */
  readonly known: readonly Pair[];
}

export interface TargetCheck {
  readonly name: string;
  readonly run: (input: TargetCheckInput) => Promise<readonly Finding[]>;
}

export async function readTargetFacts(client: pg.ClientBase): Promise<TargetFacts> {
  const row = await queryRow(
    client,
    `SELECT pg_catalog.current_setting('server_version_num') AS version, d.datname AS database, current_user AS role, r.rolsuper AS superuser,
            pg_catalog.pg_is_in_recovery() AS recovery, pg_catalog.current_setting('default_transaction_read_only') AS "readOnly",
            pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collation, r.rolconnlimit AS limit
       FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()`,
  );
  const text = (name: string): string => row?.[name] ?? '';
  return {
    version: Number(text('version')),
    database: text('database'),
    role: text('role'),
    superuser: text('superuser') === 't',
    inRecovery: text('recovery') === 't',
    readOnly: text('readOnly') === 'on',
    encoding: text('encoding'),
    collation: text('collation'),
    connectionLimit: Number(text('limit')),
    mayReplicaRole: await maySetReplicaRole(client),
  };
}

/** Tried, not looked up: 14 knows superusers only, 15 and later grants, managed services their own ways. */
async function maySetReplicaRole(client: pg.ClientBase): Promise<boolean> {
  await client.query('BEGIN READ ONLY');
  try {
    await client.query('SET LOCAL session_replication_role = replica');
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === '42501') return false;
    throw error;
  } finally {
    await client.query('ROLLBACK');
  }
}
