/**
 * The catalogue of error codes. CF-1xxx input and file · CF-2xxx source · CF-3xxx change log · CF-4xxx mapping and transform ·
 * CF-5xxx target and sink · CF-6xxx verify and repair · CF-7xxx control and command line · CF-8xxx cut-over and rollback.
 */
export interface CatalogueEntry {
  readonly meaning: string;
  /** `timed`: tried again with back-off by itself; `operator`: after somebody acted; `never`: a new start is needed. */
  readonly retry: 'timed' | 'operator' | 'never';
  readonly remedy: string;
  /** Exit code of a command that ends with it (design §12). */
  readonly exit: 1 | 2 | 3 | 10 | 11;
}

function entry(exit: CatalogueEntry['exit'], retry: CatalogueEntry['retry'], meaning: string, remedy: string): CatalogueEntry {
  return { meaning, retry, remedy, exit };
}

export const catalogue = {
  'CF-1001': entry(2, 'never', 'A log sequence number is malformed.', 'Write it as PostgreSQL does, for example 16/B374D848.'),
  'CF-1002': entry(2, 'operator', 'The migration file cannot be read.', 'Check the path given with -f.'),
  'CF-1003': entry(2, 'operator', 'The migration file is not valid YAML.', 'Mend the line named.'),
  'CF-1004': entry(2, 'operator', 'The migration file has an unknown or wrong entry.', 'Mend the entry named.'),
  'CF-1005': entry(2, 'operator', 'An environment variable that the file refers to is not set.', 'Set it, then start again.'),
  'CF-1006': entry(
    2,
    'operator',
    'The migration file is too large or expands without bound.',
    'Remove aliases and anchors; keep the file under 1 MiB.',
  ),
  'CF-1007': entry(2, 'operator', 'The command line is not valid.', 'See --help.'),
  'CF-1008': entry(2, 'operator', 'A table or column named in the file does not exist.', 'Mend the name, or create it.'),
  'CF-1009': entry(
    2,
    'operator',
    'A re-copy was asked for that cannot be made.',
    'Mend the keys or bounds named, as the source writes them, and ask again.',
  ),
  'CF-1010': entry(
    2,
    'operator',
    'The catalogues that are kept beside the migration file are missing, damaged or no longer those of the servers.',
    'Write them anew: crossfade test --record 0.',
  ),
  'CF-2001': entry(3, 'timed', 'The source cannot be reached.', 'Check host, port, and that the server accepts connections.'),
  'CF-2002': entry(
    3,
    'operator',
    'The source is not ready for logical replication.',
    'Run the SQL named, then restart the server where it says so.',
  ),
  'CF-2003': entry(3, 'operator', 'The source role lacks a privilege.', 'Run the GRANT named.'),
  'CF-2004': entry(
    1,
    'operator',
    'The replication slot is gone or lost.',
    'The changes since the last applied LSN are no longer on the source: clean up and copy again.',
  ),
  'CF-2005': entry(
    1,
    'operator',
    'The source is another system, or a timeline that does not hold what was already read.',
    'Point the file at the right server, or start a new migration.',
  ),
  'CF-2006': entry(
    1,
    'operator',
    'A table changed its shape in a way that the mapping does not cover.',
    'Change the mapping or the table, then start Crossfade (over Kafka: its services) again: the table is copied anew.',
  ),
  'CF-2007': entry(1, 'timed', 'A chunk could not be read.', 'It is tried again by itself.'),
  'CF-2008': entry(2, 'operator', 'A table cannot be replicated as it is.', 'Run the SQL named.'),
  'CF-2009': entry(3, 'operator', 'The replication slot is in use by another session.', 'Stop the other instance, then start again.'),
  'CF-2010': entry(
    3,
    'operator',
    'Something on the source is not carried over, or slows the start.',
    'Read the line; move it by hand or wait, where it matters to you.',
  ),
  'CF-3001': entry(
    1,
    'operator',
    'The change log cannot be written.',
    'Free disk space in the data directory (over Kafka: see that the brokers run and can be reached); it goes on by itself.',
  ),
  'CF-3002': entry(
    1,
    'operator',
    'The change log is damaged before its tail.',
    'Restore the data directory, or start again with an empty one. Over Kafka: mend what the message names; else start anew (docs/kafka.md).',
  ),
  'CF-3003': entry(
    1,
    'never',
    'An offset lies outside what the change log still holds.',
    'The records were removed by retention: start anew (over Kafka: docs/kafka.md).',
  ),
  'CF-3004': entry(3, 'operator', 'The data directory is in use by another instance.', 'Stop the other instance, or give another --data.'),
  'CF-3005': entry(
    1,
    'operator',
    'A record is larger than Kafka takes.',
    'Raise max.message.bytes of the topic named and of its mapped one; then crossfade dlq retry or resume. Nothing was lost.',
  ),
  'CF-3006': entry(3, 'operator', 'Kafka or the schema registry cannot be used as it is set up.', 'Mend the setting named.'),
  'CF-3007': entry(1, 'never', 'Another reader has taken over this migration.', 'Nothing is to be done: this one stands by.'),
  'CF-4001': entry(2, 'operator', 'Source and target do not fit under this mapping.', 'Mend the file or the tables as named.'),
  'CF-4002': entry(1, 'operator', 'A row cannot be mapped.', 'Change the mapping or the row, then resume.'),
  'CF-4003': entry(2, 'operator', 'A row of a table without a key cannot be set aside.', 'Give the table a primary key, or let it halt.'),
  'CF-4004': entry(
    1,
    'operator',
    'The source truncated a table for which the file says `truncates: halt`.',
    'Look what it was for; `crossfade resume` then copies the table again as the source has it now.',
  ),
  'CF-4005': entry(1, 'operator', 'A test of the mapping failed.', 'Mend the mapping, or what the test expects.'),
  'CF-4006': entry(
    10,
    'operator',
    'The plan is no longer the one that was signed.',
    'See what changed (crossfade plan --against SIGNED), have the plan signed again, and give its hash with --plan; or undo the change.',
  ),
  'CF-5001': entry(3, 'timed', 'The target cannot be reached.', 'Check host, port, and that the server accepts connections.'),
  'CF-5002': entry(3, 'operator', 'The target role lacks a privilege.', 'Run the GRANT named.'),
  'CF-5003': entry(1, 'operator', 'The target rejected a row; its table is held.', 'Mend the cause on the target, then resume.'),
  'CF-5004': entry(
    2,
    'operator',
    'A target table already holds rows.',
    'Say `existing: merge` or `existing: truncate` for it, or empty it.',
  ),
  'CF-5005': entry(
    1,
    'never',
    'Another sink has taken over this migration.',
    'Only one instance may run, and this one stops; over Kafka this sink stands by.',
  ),
  'CF-5006': entry(
    1,
    'operator',
    'The target shows another state than the change log expects.',
    'The target was restored or changed: verify, then copy again what differs.',
  ),
  'CF-5007': entry(3, 'operator', 'Triggers or foreign keys of the target act on the rows applied.', 'Run the SQL named.'),
  'CF-5008': entry(3, 'operator', 'The target server cannot take the rows as it is set up.', 'Run the SQL named.'),
  'CF-5009': entry(
    1,
    'operator',
    'A row was set aside: it could not be mapped, or the target refused it.',
    'Mend the cause, then run crossfade dlq retry.',
  ),
  'CF-5010': entry(2, 'operator', 'The command does not work with this kind of target.', 'See docs/redis.md for what does.'),
  'CF-5011': entry(
    1,
    'operator',
    'A schema step of the file failed, or is not what the journal tells.',
    'Mend the step, then run crossfade schema apply again.',
  ),
  'CF-5012': entry(
    1,
    'operator',
    'The target cannot give a key its id.',
    'Set the sequence named beyond the highest id in crossfade.key_map, or give the column a default that hands out ids.',
  ),
  'CF-6001': entry(11, 'operator', 'Source and target differ.', 'Run crossfade repair.'),
  'CF-6002': entry(1, 'operator', 'Something could not be compared at one point of the stream.', 'Run crossfade verify again.'),
  'CF-6003': entry(
    1,
    'operator',
    'A re-copy was not applied in time.',
    'It goes on by itself: look at crossfade status, then run crossfade verify.',
  ),
  'CF-6004': entry(
    3,
    'operator',
    'A server computes hashes in another way than this comparison.',
    'Compare from a server whose processor has the usual (little-endian) byte order.',
  ),
  'CF-6020': entry(
    11,
    'operator',
    'Source and target differ in what a check asks for.',
    'Find the cause: docs/checks.md says what each kind compares. Rows that differ are named by crossfade verify.',
  ),
  'CF-6030': entry(
    1,
    'timed',
    'The comparison at the fence has lost sight of what changes.',
    'Begin it anew: a server went away or the session was ended.',
  ),
  'CF-7001': entry(1, 'operator', 'No running instance answers.', 'Start it with crossfade up, or give --url.'),
  'CF-7002': entry(1, 'never', 'The command failed.', 'Read the cause; run again with --json for its details.'),
  'CF-7003': entry(3, 'operator', 'Another instance runs this migration.', 'Stop it first; two would write the same target.'),
  'CF-7004': entry(1, 'operator', 'The running instance refused the token.', 'Set CROSSFADE_TOKEN to the token that it was started with.'),
  'CF-7005': entry(2, 'operator', 'The command belongs to a later version.', 'See crossfade --help for the commands of this version.'),
  'CF-7006': entry(1, 'operator', 'The command was stopped by a signal.', 'Run it again: nothing that it had done is lost.'),
  'CF-7007': entry(3, 'operator', 'The HTTP port cannot be opened.', 'Give another one with --port; --port 0 takes any that is free.'),
  'CF-7008': entry(
    3,
    'operator',
    'A schema migration of the source or the target is failed, in progress or pending.',
    'End it with the tool named, then start again.',
  ),
  'CF-8001': entry(
    10,
    'timed',
    'Another operator acts on this migration.',
    'Wait until that one is done: crossfade status tells what it does.',
  ),
  'CF-8002': entry(10, 'operator', 'What was asked for is not possible in this state.', 'See crossfade status for the state.'),
  'CF-8003': entry(
    1,
    'never',
    'The lease on the migration is lost: somebody else may act on it.',
    'Run the command again: it finds out what was done, and goes on or backs out.',
  ),
  'CF-8004': entry(10, 'operator', 'Approvals are missing.', 'Have the people named run crossfade approve.'),
  'CF-8005': entry(
    1,
    'operator',
    'State and journals of source and target cannot both be true.',
    'Look at crossfade.migration on the target and crossfade.journal on both sides before anything writes (docs/cutover.md).',
  ),
  'CF-8006': entry(
    1,
    'operator',
    'The audit trail is not as it was written.',
    'From the record named on it proves nothing: find out who changed crossfade.audit.',
  ),
  'CF-8101': entry(1, 'timed', 'A table could not be locked in time.', 'It is tried again; end or wait for the sessions named.'),
  'CF-8102': entry(3, 'operator', 'The role may not raise a fence.', 'Run the GRANT named.'),
  'CF-8103': entry(1, 'never', 'This cut-over was decided or given up by somebody else.', 'See crossfade status for what came of it.'),
  'CF-8104': entry(1, 'timed', 'The fence was not raised, or its session ended: nothing was decided.', 'Run the command again.'),
  'CF-8105': entry(
    1,
    'timed',
    'The decision was sent to the server and not answered.',
    'It is asked for what became of it: the row of this epoch in crossfade.journal says so.',
  ),
  'CF-8106': entry(
    1,
    'operator',
    'A sequence has no values left beyond those that are taken.',
    'Give the sequence named a larger MAXVALUE (or type), on the side named.',
  ),
  'CF-8007': entry(2, 'operator', 'This target keeps no state of a cut-over.', 'Cut-over works with PostgreSQL targets.'),
  'CF-8401': entry(
    10,
    'operator',
    'Reads may not go there yet.',
    'Open the gates named, or send less there; crossfade status tells where the copy stands.',
  ),
  'CF-8402': entry(2, 'operator', 'This migration keeps no flags.', 'Flags need one PostgreSQL target: run crossfade up against it once.'),
  'CF-8403': entry(1, 'operator', 'The flags were changed meanwhile.', 'Look at them (crossfade flags get), then change them again.'),
  'CF-8201': entry(
    2,
    'operator',
    'There is no way back for this migration.',
    'See what crossfade check says of each table, or accept it in the file: reverse.',
  ),
  'CF-8202': entry(
    1,
    'timed',
    'A marker was not carried to the other side in time.',
    'See in the log of crossfade up what holds the direction up.',
  ),
  'CF-8203': entry(
    1,
    'operator',
    'The reverse path has lost its place while the target serves: what was written there meanwhile is not on the source.',
    'Do not roll back: have the tables copied from the target again (docs/cutover.md), or go on without a way back.',
  ),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;
