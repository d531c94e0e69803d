/**
 * The grammar of the migration file (design §12), as zod. Guarantee: an unknown key is always an error; everything but `crossfade`,
 * `name`, `source`, `target` and `tables` has a safe default. The same schema gives the JSON Schema for editors.
 */
import { z } from 'zod';
import { cleanup, contacts, observe } from './afterwards-schema.ts';
import { approvals } from './approvals-schema.ts';
import { backup } from './backup-schema.ts';
import { checks } from './checks-schema.ts';
import { conflictOption } from './conflict-schema.ts';
import { cutoverSettings } from './cutover-schema.ts';
import { deletesOption, truncatesOption } from './deletes-schema.ts';
import { explodeOption } from './explode-schema.ts';
import { expected, flag, NAME_LENGTH_MAX, oneOf, sqlName, whole } from './file-terms.ts';
import { keyOption, refsOption } from './key-schema.ts';
import { reconcileSettings } from './reconcile-schema.ts';
import { redisTable, redisUrl } from './redis-schema.ts';
import { reverseOption, reverseSwitch } from './reverse-schema.ts';
import { shadow } from './shadow-schema.ts';
import { repairLimits } from './repair-schema.ts';
import { schemaMigrations, schemaSteps } from './schema-change-schema.ts';
import { setEntries } from './step-schema.ts';
import { postgresUrl, targetAddress, targetOfEntry, targetsByName } from './target-schema.ts';
import { mappingTests } from './test-schema.ts';
import { triggers } from './triggers-schema.ts';
import { waves } from './waves-schema.ts';

export const NAME_PATTERN: RegExp = /^[a-z][a-z0-9_]*$/;

const BYTES_PATTERN = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?$/;
const BYTES_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** `20GiB`, `500 MB`, or plain bytes. Undefined for anything else. */
export function parseBytes(value: string | number): number | undefined {
  const match = BYTES_PATTERN.exec(String(value));
  if (!match) return undefined;
  const bytes = Math.round(Number(match[1]) * BYTES_UNITS[match[2] ?? 'B']!);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}

const bytes = z
  .union([z.string(), z.number()], expected('an amount of bytes, for example 20GiB'))
  .refine((value) => parseBytes(value) !== undefined, { error: 'expected an amount of bytes, for example 20GiB' })
  .transform((value) => parseBytes(value)!);

const tableName = z.string(expected('a table as schema.table, for example public.orders or public.*'));

const columnEntry = z.union(
  [
    sqlName,
    z.strictObject({
      to: sqlName.optional().describe('Name of the target column; the same as here when absent.'),
      cast: z.string(expected('a type, for example numeric(12,2)')).optional().describe('Target type, as PostgreSQL casts to it.'),
      zone: z.string(expected('an IANA time zone, for example Europe/Berlin')).optional().describe('Zone of a timestamp without one.'),
      drop: flag().optional().describe('Leave this column out.'),
    }),
  ],
  expected('the target column, or a block of to, cast, zone, drop'),
);

const filterValue = z.union([z.string(), z.number(), z.boolean(), z.null()], expected('a value'));
const filterValues = z.union(
  [filterValue, z.array(filterValue).min(1, expected('a value, or a list of at least one'))],
  expected('a value, or a list of values'),
);
const filterEntry = z.union([filterValues, z.strictObject({ not: filterValues })], expected('a value, a list of values, or { not: … }'));

const tableEntry = z.strictObject(
  {
    from: tableName.describe('Source table; * in either part is a glob.'),
    to: tableName.optional().describe("Target table; * stands for the source's own name. Absent: the same schema and name."),
    target: targetOfEntry.describe('Which of `targets` the rows go to; needed where there are several.'),
    exclude: z.array(tableName, expected('a list of tables')).default([]).describe('Tables that the glob leaves out.'),
    columns: z
      .record(z.string(), columnEntry, expected('a block of source column: target column'))
      .default({})
      .describe('Renamed, cast or dropped columns.'),
    set: setEntries.default({}).describe('Target columns that steps compute, each from any number of source columns.'),
    key: keyOption.describe("Rows get new keys on the target, allocated there; the source's is one column."),
    refs: refsOption.describe(
      "Columns that refer to a table with a surrogate key, where no foreign key says it; false: the source's value stays, whatever a foreign key says.",
    ),
    drop: z.array(sqlName, expected('a list of columns')).default([]).describe('Source columns that are not moved.'),
    unmapped: oneOf(['error', 'ignore']).default('error').describe('What to do with source columns that the target lacks.'),
    where: z
      .record(z.string(), filterEntry, expected('a block of column: value'))
      .optional()
      .describe('Only rows whose columns have these values.'),
    deletes: deletesOption.describe('What becomes of the row when the source deletes it; hard (it goes) when absent.'),
    truncates: truncatesOption.describe('What a TRUNCATE of the source does; absent: apply, or ignore where deletes are ignored.'),
    conflict: conflictOption.describe(
      'Which row stays where the application writes the target too and it differs: source-wins, target-wins, or the newer one by a column of the target.',
    ),
    existing: oneOf(['refuse', 'merge', 'truncate']).default('refuse').describe('What to do with rows that the target table already has.'),
    onRowError: oneOf(['halt', 'set-aside'])
      .optional()
      .describe('A row that the target refuses halts its table, or is set aside and blocks its key only. Absent: as under sink.'),
    explode: explodeOption.describe('Each element of an array column becomes a row of the target, beside the key of the row it stands in.'),
    redis: redisTable.optional().describe('How its rows stand in Redis.'),
    reverse: reverseOption.describe(
      'What the way back does, where it does not follow from the mapping: none (nothing of it goes back), or source columns set from target columns.',
    ),
  },
  expected('a block with from: schema.table'),
);

const copySettings = z.strictObject({
  parallel: whole(1, 32).default(2).describe('Chunks read at the same time.'),
  chunkRows: whole(100, 10_000_000).default(20_000).describe('Rows of the first chunk; later ones adapt to chunkTargetMs.'),
  chunkTargetMs: whole(10, 60_000).default(500).describe('How long the read of one chunk should take.'),
  maxRowsPerSecond: whole(1, 1_000_000_000).optional(),
  maxBytesPerSecond: bytes.optional(),
  maxSourceActiveSessions: whole(1, 100_000).optional().describe('Back off while the source has more active sessions than this.'),
});

const sinkSettings = z.strictObject({
  parallel: whole(1, 32).default(2).describe('Connections to the target during the copy.'),
  synchronousCommit: flag()
    .default(false)
    .describe("Wait for the target's disk at each commit; progress commits with the data either way."),
  batchRows: whole(100, 1_000_000).default(20_000).describe('Most row changes applied in one round.'),
  onRowError: oneOf(['halt', 'set-aside'])
    .default('halt')
    .describe('What becomes of a row that the target refuses, for tables that do not say.'),
});

const slotSettings = z.strictObject({
  create: flag().default(true),
  failover: flag().default(false).describe('A slot that standbys keep (source 17 and later).'),
  budgetBytes: bytes.optional().describe('Bytes of WAL that the slot may hold back before onBudget.'),
  onBudget: oneOf(['warn', 'drop']).default('warn').describe("drop gives up the migration to save the source's disk."),
});

const kafkaAddress = z
  .string(expected('a broker as host:port'))
  .regex(/^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, { error: 'expected a broker as host:port, for example kafka:9092' });

const kafkaSasl = z.strictObject(
  {
    mechanism: oneOf(['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer']),
    username: z.string(expected('a user name')).optional(),
    password: z.string(expected('a password, best as ${ENV}')).optional(),
    tokenUrl: z.url(expected('the address of the token endpoint')).optional().describe('oauthbearer: client credentials are sent there.'),
    clientId: z.string(expected('a client id')).optional(),
    clientSecret: z.string(expected('a client secret, best as ${ENV}')).optional(),
    scope: z.string(expected('a scope')).optional(),
  },
  expected('a block with mechanism: …'),
);

const pemFiles = z.strictObject(
  {
    ca: z.string(expected('the path of a PEM file')).optional().describe('PEM file of the authorities trusted.'),
    cert: z.string(expected('the path of a PEM file')).optional(),
    key: z.string(expected('the path of a PEM file')).optional(),
  },
  expected('a block of ca, cert, key'),
);
const kafkaSsl = z.union([flag(), pemFiles], expected('true, or a block of ca, cert, key'));

const kafkaInput = z.strictObject(
  {
    prefix: z
      .string(expected("the connector's topic.prefix"))
      .regex(/^[a-zA-Z0-9._-]+$/, { error: "expected the connector's topic.prefix: letters, digits, dots, underscores, hyphens" })
      .describe("The connector's topic.prefix: its topics are prefix.schema.table."),
  },
  expected('a block with prefix: …'),
);

const kafkaSettings = z.strictObject(
  {
    brokers: z.array(kafkaAddress, expected('a list of brokers')).min(1, { error: 'expected at least one broker' }),
    registry: z
      .url({ protocol: /^https?$/, ...expected('the address of a schema registry, for example http://host:8081/apis/ccompat/v7') })
      .optional()
      .describe("Confluent's API. Absent: schemas are kept in a topic of the migration."),
    registrySsl: pemFiles.optional().describe("Where the registry's certificate is not of the system's authorities."),
    partitions: whole(1, 1000).default(3).describe('Partitions of each table topic; fixed once the topics are there.'),
    replicationFactor: whole(1, 100).optional().describe("The broker's default when absent."),
    format: oneOf(['avro', 'json']).default('avro').describe('Values as Avro with a registry, or as JSON that carries its schema.'),
    compression: oneOf(['none', 'gzip', 'zstd'])
      .default('zstd')
      .describe('Of batches from 4 KiB on. zstd costs less time than the bytes it saves.'),
    input: kafkaInput.optional().describe('Rows come from the topics of a Debezium connector, not from a slot of ours.'),
    ssl: kafkaSsl.optional(),
    sasl: kafkaSasl.optional(),
  },
  expected('a block with brokers: [host:port]'),
);

export const migrationSchema = z.strictObject(
  {
    crossfade: z.literal(1, expected('1, the version of the grammar that this version of Crossfade reads')),
    name: z
      .string(expected('a name'))
      .regex(NAME_PATTERN, { error: 'expected a name of small letters, digits and underscores that begins with a letter' })
      .max(NAME_LENGTH_MAX, { error: `expected a name of at most ${NAME_LENGTH_MAX} characters` })
      .describe('Also the name of slot and publication; typed by hand to confirm dangerous acts.'),
    source: z.strictObject({ postgres: postgresUrl }, expected('source: { postgres: URL }')),
    target: targetAddress.optional(),
    targets: targetsByName.optional().describe('Several targets of one migration, by name; in place of `target`.'),
    tables: z
      .array(tableEntry, expected('a list of tables, each as - from: schema.table'))
      .min(1, { error: 'expected at least one table' }),
    schemaMigrations: schemaMigrations
      .default([])
      .describe('The tool that owns the tables: nothing begins while a migration of it is pending.'),
    schemaSteps: schemaSteps.default([]).describe("SQL of the file's own on the target; run by `crossfade schema apply`."),
    tests: mappingTests.default([]).describe('What is to come of given source rows; run by `crossfade test`.'),
    checks: checks.default([]).describe('What must be equal besides the rows themselves; evaluated by `crossfade verify`.'),
    repair: repairLimits,
    shadow: shadow
      .default([])
      .describe('Critical queries, run on both stores: answers and response times are compared by `crossfade verify`.'),
    copy: copySettings.prefault({}),
    sink: sinkSettings.prefault({}),
    slot: slotSettings.prefault({}),
    publication: z.strictObject({ create: flag().default(true) }).prefault({}),
    heartbeatSeconds: whole(1, 3600).default(10).describe('How often an idle source is written to (a logical message, no table).'),
    reconcile: reconcileSettings.prefault({}),
    approvals,
    flags: z
      .strictObject(
        { redis: redisUrl.optional().describe('Each change is pushed there: a hash, and a message.') },
        expected('a block of redis: URL'),
      )
      .optional()
      .describe('Where the flags of reads and writes are pushed to, beside HTTP.'),
    reverse: reverseSwitch.describe('off: what is written on the target after the cut-over does not go back to the source.'),
    cutover: cutoverSettings.prefault({}).describe('How a cut-over or rollback is made.'),
    contacts,
    cleanup,
    triggers,
    observe,
    backup,
    waves: waves.describe('Tenants or regions that move one after another, each with a cut-over and a rollback of its own.'),
    log: z
      .strictObject({
        retainBytes: bytes.prefault('1GiB').describe('Applied changes kept on disk for a target that is restored.'),
        kafka: kafkaSettings.optional().describe('The change log on Kafka, for services that run as processes of their own.'),
      })
      .prefault({}),
  },
  expected('a block that begins with crossfade: 1'),
);

export type ParsedMigration = z.output<typeof migrationSchema>;

/** JSON Schema (draft 7, which editors read) of the file as it stands, with its references to the environment. */
export function migrationJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(migrationSchema, {
    target: 'draft-7',
    io: 'input',
    override: ({ jsonSchema }) => allowReference(jsonSchema),
  });
  const anyOf = [{ required: ['target'] }, { required: ['targets'] }];
  return { $schema, title: 'Crossfade migration file, version 1', ...schema, anyOf };
}

/** What is said of a text holds for what a reference stands for, not for the reference. */
function allowReference(schema: z.core.JSONSchema.BaseSchema): void {
  if (schema.type !== 'string') return;
  delete schema.format;
  if ((schema.minLength ?? 0) > 1) delete schema.minLength;
  // Called again for what is wrapped as optional.
  if (schema.pattern?.endsWith(REFERENCE) === false) schema.pattern += REFERENCE;
}

const REFERENCE = String.raw`|\$\{`;

/** Keys that the design has and this version does not: another message than for a typo. Matched on the key's own name. */
export const LATER_KEYS: ReadonlySet<string> = new Set([
  'after',
  'defaults',
  'hooks',
  'keys',
  'lookups',
  'maps',
  'owners',
  'pii',
  'reads',
  'rollback',
  'rollbackOn',
  'scope',
  'sequences',
  'throttle',
  'transport',
  'union',
]);
