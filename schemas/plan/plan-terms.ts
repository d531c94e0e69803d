/** What is true of every plan: how rows are moved, and what the document does not say. */

const MOVED =
  'Rows are copied in key ranges while the source stays in use; changes are followed from its WAL by logical replication at the same time.';

/** How rows get to the kind of target that it is; nothing that holds of PostgreSQL only is promised of Redis. */
export const METHOD: Readonly<Record<'postgres' | 'redis', readonly string[]>> = {
  postgres: [
    MOVED,
    "From the end of the copy on the target shows one known point of the source's WAL: position and rows commit together, so each change is applied exactly once.",
    "A value passes as PostgreSQL's own text. A cast is computed by a server; every other conversion by one pure function, the same for copy, changes and comparison.",
    'crossfade verify compares every row of source and target at one point of the WAL; crossfade repair copies again what differs.',
    'The source gets one replication slot and one publication; the target the schema crossfade. Nothing else is created, and no schema is changed but by schema steps that the file declares.',
  ],
  redis: [
    MOVED,
    'Each row in Redis carries its place in the WAL and is only ever written forward, so a change that comes again changes nothing. A transaction is not seen at once: its rows show up one after another.',
    "A value passes as PostgreSQL's own text; every conversion is one pure function, the same for copy and changes.",
    'crossfade verify compares every row of the source with what stands under its key in Redis, while both are written to; crossfade repair copies again what differs.',
    'The source gets one replication slot and one publication; Redis the keys that begin with crossfade:, and the field _cf in each row.',
  ],
};

export const LIMITS: readonly string[] = [
  "Rows and bytes are estimates of the source's statistics.",
  'Schema, indexes, constraints, triggers, views, grants and the state of sequences are not moved.',
  'What looks like personal data is guessed by name and type: columns without a mark may hold some too.',
  'Masking is done on the way to the target: the change log (data directory or raw topics) holds rows as the source wrote them until it is removed.',
  'A step that refuses a value, or a target that refuses a row, halts that table (or sets the row aside, where it says so); the others go on.',
  'The hash covers what becomes of rows, the policies of each table, schema steps, and what the file declares of the way back. It does not cover addresses, volumes, speeds or the settings of the servers.',
];
