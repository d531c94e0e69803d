/**
 * What a check of the source gets. Guarantee: a check only reads; each reports everything it finds at once, with the SQL that mends it.
 */
import type pg from 'pg';
import type { Finding } from '#schemas/errors.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';

export interface SourceFacts {
  /** server_version_num, for example 180004. */
  readonly version: number;
  readonly database: string;
  readonly role: string;
  readonly superuser: boolean;
  readonly replication: boolean;
  /** A managed service's group role that stands for REPLICATION (rds_replication), when this role is a member. */
  readonly managedReplication: boolean;
  readonly bypassRowSecurity: boolean;
  readonly connectionLimit: number;
  readonly inRecovery: boolean;
  readonly encoding: string;
}

export interface SourceCheckInput {
  readonly client: pg.ClientBase;
  readonly url: string;
  readonly facts: SourceFacts;
  readonly catalog: Catalog;
  /** The mapped ones. */
  readonly tables: readonly CatalogTable[];
  /** Those of `tables` that have no target table: the mapping compiler, which judges keys, did not come to them. */
  readonly untargeted: readonly CatalogTable[];
  /** Also slot and publication. */
  readonly name: string;
  readonly settings: SourceCheckSettings;
  /** The target holds progress of this migration: slot and publication must be there. */
  readonly resumed: boolean;
}

export interface SourceCheckSettings {
  readonly createSlot: boolean;
  readonly failoverSlot: boolean;
  readonly createPublication: boolean;
  readonly sessions: number;
}

export interface SourceCheck {
  /** Short words for the list of checks done. */
  readonly name: string;
  /** Of a slot and publication of ours: nothing to do with a connector that reads the source. */
  readonly isOfStream?: true;
  /** Of what goes on right now, not of how the server is set up. */
  readonly isOfMoment?: true;
  readonly run: (input: SourceCheckInput) => Promise<readonly Finding[]>;
}

export async function readSourceFacts(client: pg.ClientBase): Promise<SourceFacts> {
  const row = await queryRow(
    client,
    `SELECT pg_catalog.current_setting('server_version_num') AS version, pg_catalog.current_database() AS database, current_user AS role,
            r.rolsuper AS superuser, r.rolreplication AS replication, r.rolbypassrls AS bypass, r.rolconnlimit AS limit,
            EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = 'rds_replication' AND pg_catalog.pg_has_role(g.oid, 'USAGE')) AS managed,
            pg_catalog.pg_is_in_recovery() AS recovery, pg_catalog.current_setting('server_encoding') AS encoding
       FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`,
  );
  const text = (name: string): string => row?.[name] ?? '';
  return {
    version: Number(text('version')),
    database: text('database'),
    role: text('role'),
    superuser: text('superuser') === 't',
    replication: text('replication') === 't',
    managedReplication: text('managed') === 't',
    bypassRowSecurity: text('bypass') === 't',
    connectionLimit: Number(text('limit')),
    inRecovery: text('recovery') === 't',
    encoding: text('encoding'),
  };
}

export function mayReplicate(facts: SourceFacts): boolean {
  return facts.superuser || facts.replication || facts.managedReplication;
}
