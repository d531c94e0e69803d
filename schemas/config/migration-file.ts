/** What a read and checked migration file holds (the zod schema and the reader are in read-migration-file.ts). */
import type { SchemaMigrations } from '../schema-history/schema-tools.ts';
import type { Trigger } from '../triggers/trigger.ts';
import type { RequiredApproval } from '../migration/approvals.ts';
import type { UserFunctions } from '../mapping/steps/user-function.ts';
import type { CheckEntry } from './check-entry.ts';
import type { MappingTest } from './mapping-test.ts';
import type { ShadowEntry } from './shadow-entry.ts';
import type { StepBlock } from './step-schema.ts';

export interface MigrationFile {
  readonly path: string;
  /** Also slot, publication, topic prefix; [a-z][a-z0-9_]*, at most 48 characters. */
  readonly name: string;
  readonly source: { readonly postgres: string };
  /** Of a file with several targets the first: work on `targetFiles`. */
  readonly target: TargetAddress;
  /** Of the target above, where the file names it. */
  readonly targetName?: string;
  /** Absent: there is one. */
  readonly targets?: readonly NamedTarget[];
  readonly tables: readonly TableEntry[];
  readonly settings: PipelineSettings;
  /** Nothing goes back. */
  readonly reverse?: 'off';
  /** Absent: the histories that are there are looked at, and no folder. */
  readonly schemaMigrations?: readonly SchemaMigrations[];
  /** SQL of the file's own, in its order; absent: none. */
  readonly schemaSteps?: readonly SchemaStepEntry[];
  /** Absent: there is none. */
  readonly tests?: readonly MappingTest[];
  /** Absent: only the built-in ones are made. */
  readonly checks?: readonly CheckEntry[];
  /** What people have to sign before an act; absent: nothing. */
  readonly approvals?: readonly RequiredApproval[];
  /** Where flags are pushed to; absent: they are served over HTTP alone. */
  readonly flags?: { readonly redis?: string };
  /** What a repair may do at most; absent: as much as is asked for. */
  readonly repair?: RepairLimits;
  /** Queries that run on both stores; absent: none. */
  readonly shadow?: readonly ShadowEntry[];
  /** Role → who, and how they are reached; absent: none. */
  readonly contacts?: Readonly<Record<string, string>>;
  /** What is watched after the cut-over; absent: nothing. */
  readonly triggers?: readonly Trigger[];
  /** Absent: nothing is waited for. */
  readonly cleanup?: { readonly afterMs: number };
  /** Absent: nobody asks for one. */
  readonly backup?: BackupEntry;
  /** Absent: no time is asked, and nothing is compared by itself while the target serves. */
  readonly observe?: { readonly forMs: number; readonly everyMs: number };
  /** Functions that steps call, where the file was loaded with them. */
  readonly functions?: UserFunctions;
  /** Absent: the defaults (`cutoverOf`). */
  readonly cutover?: CutoverEntry;
  /** What moves one after another; absent: everything at once. Work on the file of one wave (`waveFile`). */
  readonly waves?: WavesEntry;
  /** This file is that of one wave. */
  readonly wave?: WaveOf;
  /** Hash of the plan that people signed, where a command was given one: what is done is bound to it. With several targets that of the whole. */
  readonly signedPlan?: string;
}

/** What is saved before anything is altered; times in milliseconds. */
export interface BackupEntry {
  readonly of: 'source' | 'target';
  /** Absent: the command alone knows where it is. */
  readonly file?: string;
  /** Absent: pg_dump. */
  readonly command?: readonly string[];
  /** Absent: pg_restore reads all of it. */
  readonly verify?: readonly string[];
  readonly timeoutMs: number;
  /** At the cut-over; absent: however old. */
  readonly maxAgeMs?: number;
}

export interface WavesEntry {
  /** Source column that tells whose a row is. */
  readonly by: string;
  /** Source tables in which it is called otherwise. */
  readonly columns: readonly { readonly table: string; readonly column: string }[];
  /** In the order in which they are meant to move. */
  readonly waves: readonly WaveEntry[];
  /** Source tables (globs) that belong to no unit. */
  readonly shared: readonly string[];
  /** Source tables (globs) whose keys never meet, whichever store makes them. */
  readonly distinct: readonly string[];
  /** No other wave is cut over for so long. */
  readonly observationMs: number;
  readonly line: number;
  readonly column: number;
}

export interface WaveEntry {
  readonly name: string;
  /** `*`: all that no other wave names. Null: rows without a unit. */
  readonly units: readonly (string | null)[] | '*';
}

export interface WaveOf {
  readonly name: string;
  /** Name of the whole migration. */
  readonly of: string;
  readonly waves: WavesEntry;
}

/** How a flip of who serves is made; times in milliseconds. */
export interface CutoverEntry {
  /** Absent: writes move to the other store. */
  readonly strategy?: 'rename-swap' | 'dual-write';
  readonly lag: number;
  readonly lockTimeout: number;
  readonly attempts: number;
  readonly drainTimeout: number;
  readonly compareTimeout: number;
  readonly blockBudget: number;
  readonly finishTimeout: number;
  /** Before the first decision, too. */
  readonly fenceTarget: boolean;
  /** Absent: `before`, once a read flag was set. */
  readonly reads?: 'with-writes' | 'before';
  /** Source tables (globs) whose way back loses something. */
  readonly accept: readonly string[];
  readonly hooks: { readonly before: readonly HookEntry[]; readonly after: readonly HookEntry[] };
}

export type HookEntry = { readonly name: string; readonly timeoutMs: number } & (
  | { readonly kind: 'exec'; readonly command: readonly string[] }
  | { readonly kind: 'http'; readonly url: string; readonly headers: Readonly<Record<string, string>> }
);

export interface RepairLimits {
  /** Copied again. */
  readonly maxRows?: number;
  /** Taken from the target. */
  readonly maxDeletes?: number;
}

export interface SchemaStepEntry {
  readonly name: string;
  readonly up: string;
  readonly down: string;
  /** A query whose first column is true once the step is done. */
  readonly verify: string;
  readonly transaction: boolean;
  /** Absent: the file has one target. */
  readonly target?: string;
  /** Something in it came out of the environment: it must not be shown. */
  readonly fromEnvironment?: true;
}

export interface NamedTarget {
  readonly name: string;
  readonly address: TargetAddress;
}

/** One of the two. */
export type TargetAddress =
  | { readonly postgres: string; readonly redis?: undefined }
  | { readonly redis: RedisAddress; readonly postgres?: undefined };

export interface RedisAddress {
  readonly url: string;
  /** The server is a node of a Redis Cluster. */
  readonly cluster: boolean;
}

/** How rows of a table stand in Redis. */
export interface RedisEntry {
  /** Absent: made from the target's name and key. */
  readonly key?: string;
  readonly form: 'hash' | 'json';
  readonly ttlSeconds?: number;
  readonly sets: readonly string[];
  readonly fromEnvironment?: true;
  readonly line: number;
  readonly column: number;
}

/** One entry of `tables:`; globs are resolved against the catalogue by the mapping compiler. */
export interface TableEntry {
  /** `schema.table`, either part may be a glob with `*`. */
  readonly from: string;
  /** `schema.table`; a `*` stands for the source's own name; absent = same schema and name. */
  readonly to?: string;
  /** Absent: the file has one target, without a name. */
  readonly target?: string;
  readonly exclude: readonly string[];
  /** Keyed by source column. */
  readonly columns: Readonly<Record<string, ColumnEntry>>;
  /** Keyed by target column; absent = none is computed. */
  readonly set?: Readonly<Record<string, SetEntry>>;
  /** Rows get ids that the target allocates. Absent: they keep their keys. */
  readonly key?: KeyEntry;
  /** Keyed by source column; absent = foreign keys say it all. */
  readonly refs?: Readonly<Record<string, RefEntry>>;
  readonly unmapped: 'error' | 'ignore';
  readonly where?: Readonly<Record<string, FilterEntry>>;
  /** Column of `where` by which also the rows of the target are told that are its own; absent: all of them are. */
  readonly scope?: string;
  readonly existing: 'refuse' | 'merge' | 'truncate';
  /** Absent: a row that the source deletes goes. */
  readonly deletes?: DeletesEntry;
  /** Absent: ignore where deletes are ignored, else apply. */
  readonly truncates?: 'apply' | 'ignore' | 'halt';
  /** The entry says so, or the file's `sink` block and not the entry; absent = halt. */
  readonly onRowError?: 'set-aside';
  /** Absent: nobody but the pipeline writes the target, and nothing is counted. */
  readonly conflict?: ConflictEntry;
  /** Rows of the target are what an array of the source's row holds. */
  readonly explode?: ExplodeEntry;
  /** Absent: as the defaults say, where the target is Redis. */
  readonly redis?: RedisEntry;
  /** Absent: the way back follows from the mapping. */
  readonly reverse?: ReverseEntry;
  /** Place of `from` in the file, for findings. */
  readonly line: number;
  readonly column: number;
  /** Place of `to`, where there is one. */
  readonly toPlace?: { readonly line: number; readonly column: number };
}

/** `version`: a column of the target. */
export type ConflictEntry = { readonly line: number; readonly column: number } & (
  | { readonly policy: 'source-wins' | 'target-wins' }
  | { readonly policy: 'newer-wins'; readonly version: string }
);

/** `set`: keyed by source column; made of target columns. */
export type ReverseEntry = { readonly line: number; readonly column: number } & (
  | { readonly mode: 'none' }
  | { readonly mode: 'set'; readonly set: Readonly<Record<string, SetEntry>> }
);

export interface ColumnEntry {
  readonly to?: string;
  readonly cast?: string;
  /** IANA zone for timestamp → timestamptz (or back). */
  readonly zone?: string;
  readonly drop: boolean;
  readonly line: number;
  readonly column: number;
}

export interface KeyEntry {
  /** Column of the target. */
  readonly surrogate: string;
  readonly line: number;
  readonly column: number;
}

/** An array column that becomes rows of its own. */
export interface ExplodeEntry {
  /** Source column. */
  readonly array: string;
  readonly parts: readonly ExplodePart[];
  /** Target column of the element's place. */
  readonly ordinal?: { readonly to: string; readonly line: number; readonly column: number };
  readonly orphans: 'delete' | 'keep';
  readonly line: number;
  readonly column: number;
}

/** `to`: the source table referred to, `schema.table`; false: a value like any other. */
export interface RefEntry {
  readonly to: string | false;
  readonly line: number;
  readonly column: number;
}

export interface ExplodePart {
  /** Name or JSON pointer; absent: the element itself. */
  readonly field?: string;
  readonly to: string;
  readonly cast?: string;
  readonly line: number;
  readonly column: number;
}

/** Names columns of the target. */
export type DeletesEntry = { readonly line: number; readonly column: number } & (
  | { readonly mode: 'ignore' }
  | {
      readonly mode: 'soft';
      readonly flag?: { readonly column: string; readonly value: string; readonly alive?: string | null };
      readonly at?: string;
    }
);

/** A target column that is computed. */
export interface SetEntry {
  /** Source columns; empty for a constant. */
  readonly from: readonly string[];
  /** The constant. */
  readonly value?: string | null;
  /** The constant came out of the environment: it must not be shown. */
  readonly fromEnvironment?: true;
  readonly steps: readonly PlacedStep[];
  readonly line: number;
  readonly column: number;
}

export interface PlacedStep {
  readonly step: StepBlock;
  /** Something in it came out of the environment: it must not be shown. */
  readonly fromEnvironment?: true;
  readonly line: number;
  readonly column: number;
}

/** `value`, `[values]`, or `{ not: value | [values] }`; null matches NULL. Always as text, as written in the file. */
export interface FilterEntry {
  readonly op: 'in' | 'not-in';
  readonly values: readonly (string | null)[];
  /** Some value came out of the environment: it must not be shown. */
  readonly fromEnvironment?: true;
  readonly line?: number;
  readonly column?: number;
}

export interface PipelineSettings {
  readonly copy: {
    /** Chunks read at the same time. */
    readonly parallel: number;
    /** First chunk's size in rows; later ones adapt to `chunkTargetMs`. */
    readonly chunkRows: number;
    readonly chunkTargetMs: number;
    readonly maxRowsPerSecond?: number;
    readonly maxBytesPerSecond?: number;
    /** Back off while the source has more than this many active sessions. */
    readonly maxSourceActiveSessions?: number;
  };
  readonly sink: {
    readonly parallel: number;
    /** Applied with synchronous_commit off: progress commits with the data, so a lost commit is applied again. */
    readonly synchronousCommit: boolean;
    /** Most row changes applied in one round before the next statement batch. */
    readonly batchRows: number;
  };
  readonly slot: {
    readonly create: boolean;
    readonly failover: boolean;
    /** Above this many bytes retained on the source: `onBudget`. */
    readonly budgetBytes?: number;
    readonly onBudget: 'warn' | 'drop';
  };
  readonly publication: { readonly create: boolean };
  readonly heartbeatSeconds: number;
  readonly reconcile: ReconcileSettings;
  readonly log: { readonly retainBytes: number; readonly kafka?: KafkaSettings };
}

/** The comparison that goes on while an instance runs. */
export interface ReconcileSettings {
  readonly enabled: boolean;
  /** Of the time, at most this is spent comparing. */
  readonly budgetPercent: number;
  /** From when the target shows one source state. */
  readonly startAfterSeconds: number;
  /** What does not change is compared again after this. */
  readonly sweepHours: number;
  /** The file's checks and shadow queries are made again after this. */
  readonly checkMinutes: number;
  /** The log is held against both sides, too; absent: it is not. */
  readonly stream?: boolean;
}

/** The change log on Kafka. */
export interface KafkaSettings {
  readonly brokers: readonly string[];
  /** Confluent's API; absent: schemas are kept in a topic of the migration. */
  readonly registry?: string;
  /** Paths of PEM files, where the registry's certificate is not of the system's authorities. */
  readonly registrySsl?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly partitions: number;
  readonly replicationFactor?: number;
  readonly format: 'avro' | 'json';
  readonly compression: 'none' | 'gzip' | 'zstd';
  /** Rows come from the topics of a Debezium connector, not from a slot of ours. */
  readonly input?: KafkaInput;
  /** Paths of PEM files, or true for the system's authorities. */
  readonly ssl?: boolean | { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly sasl?: KafkaSasl;
}

export interface KafkaInput {
  /** The connector's topic.prefix. */
  readonly prefix: string;
}

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512' | 'oauthbearer';
  readonly username?: string;
  readonly password?: string;
  readonly tokenUrl?: string;
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly scope?: string;
}
