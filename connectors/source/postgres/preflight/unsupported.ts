/** What the stream does not carry. Guarantee: named before the start, so that nobody misses it after the cut-over. */
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import { infoFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { type CatalogOddity, quoteTable } from '#schemas/table.ts';
import type { SourceCheckInput } from './source-check.ts';

interface Lost {
  readonly kind: CatalogOddity['kind'];
  readonly severity: 'warning' | 'info';
  readonly what: string;
  readonly remedy: string;
}

const LOST: readonly Lost[] = [
  {
    kind: 'materialized-view',
    severity: 'info',
    what: 'materialised views are not in the stream',
    remedy: 'Create them on the target and REFRESH MATERIALIZED VIEW after the copy.',
  },
  {
    kind: 'foreign-table',
    severity: 'warning',
    what: 'foreign tables hold no rows here and are not moved',
    remedy: 'Create them on the target, pointing at the same servers.',
  },
  {
    kind: 'inheritance',
    severity: 'warning',
    what: 'tables of an inheritance tree (not partitions) are moved one by one, each with its own rows only',
    remedy: 'Create the same tree on the target, or map the children to tables of their own.',
  },
  {
    kind: 'rule',
    severity: 'info',
    what: 'rules are not moved; rows are streamed as the rules stored them',
    remedy: 'Create them on the target after the cut-over where they are still wanted.',
  },
];

export async function checkObjects({ catalog, tables }: SourceCheckInput): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { kind, severity, what, remedy } of LOST) {
    const names = catalog.oddities.filter((oddity) => oddity.kind === kind).map(quoteTable);
    if (names.length === 0) continue;
    const make = severity === 'warning' ? warningFinding : infoFinding;
    findings.push(make('CF-2010', `${what}: ${listNames(names)}`, remedy));
  }
  const mapped = new Set(tables.map((table) => `${table.schema}.${table.name}`));
  const unlogged = catalog.oddities
    .filter((oddity) => oddity.kind === 'unlogged-table' && !mapped.has(`${oddity.schema}.${oddity.name}`))
    .map(quoteTable);
  if (unlogged.length > 0)
    findings.push(
      infoFinding(
        'CF-2010',
        `unlogged tables are not in the stream and not mapped: ${listNames(unlogged)}`,
        'Fill them on the target by hand where they are needed.',
      ),
    );
  if (catalog.largeObjects > 0) {
    findings.push(
      warningFinding(
        'CF-2010',
        `${catalog.largeObjects} large objects are not in the stream`,
        'Move them by hand (lo_export, lo_import), or keep them in bytea columns.',
      ),
    );
  }
  if (catalog.sequences.length > 0) {
    const message = `${catalog.sequences.length} sequences are not in the stream: at the cut-over the target's go on beyond theirs (those that no column uses: where it has one of the same name), not before`;
    findings.push(
      infoFinding('CF-2010', message, 'Nothing to do now. Before writing to the target without a cut-over: SELECT setval(…) for each.'),
    );
  }
  return findings;
}

/** Users of LISTEN/NOTIFY: notifications do not pass logical replication. Functions that call them are the only trace in a catalogue. */
export async function checkNotify({ client }: SourceCheckInput): Promise<Finding[]> {
  const rows = await queryRows(
    client,
    String.raw`SELECT n.nspname AS schema, p.proname AS name FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND p.prokind IN ('f', 'p') AND p.prosrc ~* '\m(pg_notify\s*\(|notify\s+[a-z_"])'
      ORDER BY 1, 2 LIMIT 50`,
  );
  if (rows.length === 0) return [];
  const names = rows.map((row) => `${row['schema']}.${row['name']}`);
  return [
    infoFinding(
      'CF-2010',
      `NOTIFY is used by ${listNames(names)}: notifications do not reach listeners on the target before the cut-over`,
      'Plan the listeners’ move with the cut-over.',
    ),
  ];
}

/** Shorter ones end before anybody has read the line. */
const LONG_SECONDS = 60;

/** Creating the slot waits for every transaction that is running; prepared ones may run for ever. */
export async function checkActivity(
  { client, facts }: Pick<SourceCheckInput, 'client' | 'facts'>,
  longSeconds: number = LONG_SECONDS,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const prepared = await queryRows(
    client,
    'SELECT gid, prepared::text AS since FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 20',
  );
  if (prepared.length > 0) {
    const names = prepared.map((row) => `${row['gid']} (since ${row['since']})`);
    findings.push(
      warningFinding(
        'CF-2010',
        `prepared transactions are open, and creating the slot waits for them: ${listNames(names)}`,
        "COMMIT PREPARED '…' or ROLLBACK PREPARED '…' for each that nobody will finish.",
      ),
    );
  }
  const long = await queryRows(
    client,
    `SELECT pid, coalesce(nullif(application_name, ''), 'unnamed') AS name, pg_catalog.date_trunc('second', pg_catalog.now() - xact_start)::text AS age
       FROM pg_catalog.pg_stat_activity
      WHERE pid <> pg_catalog.pg_backend_pid() AND xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1) AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
        AND backend_type = 'client backend' ORDER BY xact_start LIMIT 20`,
    [longSeconds],
  );
  if (long.length > 0) {
    const names = long.map((row) => `pid ${row['pid']} (${row['name']}, ${row['age']})`);
    findings.push(
      warningFinding(
        'CF-2010',
        `long transactions are open, and creating the slot waits for those that write: ${listNames(names)}`,
        `End them, or wait: SELECT pg_terminate_backend(${long[0]?.['pid']});`,
      ),
    );
  }
  const inbound = await queryRow(
    client,
    'SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database()',
  );
  if (Number(inbound?.['n'] ?? 0) > 0) {
    const message = `database ${facts.database} itself subscribes to another server: what arrives there is streamed on like any other change`;
    findings.push(infoFinding('CF-2010', message, 'See pg_stat_subscription; make sure that no circle is closed with the target.'));
  }
  return findings;
}
