/** The tools that change schemas, and what we know of how they keep their history. Guarantee: facts of each tool's own papers, no more. */

export const SCHEMA_TOOLS = ['flyway', 'liquibase', 'dbmate', 'node-pg-migrate', 'prisma', 'atlas', 'pgroll', 'golang-migrate'] as const;

export type SchemaTool = (typeof SCHEMA_TOOLS)[number];

/** `schemaMigrations:` of the file. */
export interface SchemaMigrations {
  readonly tool: SchemaTool | 'none';
  /** Where the migrations are. */
  readonly folder?: string;
  /** `schema.table`; absent: where the tool puts it by itself. */
  readonly table?: string;
  readonly on: 'target' | 'source';
  /** Absent: the source, or the file has one target. */
  readonly target?: string;
  readonly line: number;
  readonly column: number;
}

/** What a history says is not in order. */
export interface HistoryTrouble {
  readonly what: 'failed' | 'in progress';
  /** Of the migration, as the tool names it. */
  readonly name: string;
}

/** A migration that the history tells of, in the history's order. */
export interface HistoryEntry {
  /** Version or name, as the tool compares it. */
  readonly id: string;
  /** Flyway: the file. */
  readonly script?: string;
  readonly kind: 'applied' | 'baseline' | 'undone';
}

export interface ToolFacts {
  readonly table: string;
  /** By which the table is known. */
  readonly columns: readonly string[];
  /** Columns that tell it from another tool's table of that name. */
  readonly without?: readonly string[];
  /** What to do about a migration that has failed or was never ended. */
  readonly remedy: string;
  /** What applies those that are pending. */
  readonly apply: string;
}

export const TOOL_FACTS: Readonly<Record<SchemaTool, ToolFacts>> = {
  flyway: {
    table: 'flyway_schema_history',
    columns: ['installed_rank', 'version', 'type', 'script', 'success'],
    remedy: 'Undo by hand what the migration left behind, then run: flyway repair && flyway migrate',
    apply: 'flyway migrate',
  },
  liquibase: {
    table: 'databasechangeloglock',
    columns: ['id', 'locked', 'lockgranted', 'lockedby'],
    remedy: 'Wait until it is done; if nobody runs Liquibase any more: liquibase release-locks, then liquibase update',
    apply: 'liquibase update',
  },
  dbmate: {
    table: 'schema_migrations',
    columns: ['version'],
    without: ['dirty'],
    remedy: 'dbmate status',
    apply: 'dbmate migrate',
  },
  'node-pg-migrate': {
    table: 'pgmigrations',
    columns: ['name', 'run_on'],
    remedy: 'Wait until node-pg-migrate is done.',
    apply: 'node-pg-migrate up',
  },
  prisma: {
    table: '_prisma_migrations',
    columns: ['migration_name', 'started_at', 'finished_at', 'rolled_back_at', 'logs'],
    remedy: 'Mend it, then run: prisma migrate resolve --applied NAME (or --rolled-back NAME) && prisma migrate deploy',
    apply: 'prisma migrate deploy',
  },
  atlas: {
    table: 'atlas_schema_revisions',
    columns: ['version', 'type', 'applied', 'total', 'error'],
    remedy: 'Mend the statement that failed, then run: atlas migrate apply (atlas migrate status tells where it stands)',
    apply: 'atlas migrate apply',
  },
  pgroll: {
    table: 'migrations',
    columns: ['schema', 'name', 'migration', 'parent', 'done'],
    remedy: 'Run: pgroll complete (or pgroll rollback)',
    apply: 'pgroll migrate FOLDER --complete',
  },
  'golang-migrate': {
    table: 'schema_migrations',
    columns: ['version', 'dirty'],
    remedy: 'Undo or complete by hand what the migration left behind, then run: migrate force VERSION && migrate up',
    apply: 'migrate up',
  },
};
