/** Version, role of the server, WAL level, room for a slot and a walsender, WAL limits, encoding. */
import { queryRow } from '#connectors/postgres/session.ts';
import { errorFinding, infoFinding, warningFinding } from '#schemas/finding.ts';
import type { Finding } from '#schemas/errors.ts';
import { identifySystem } from '../slot.ts';
import { mayReplicate, type SourceCheckInput } from './source-check.ts';

const VERSION_MIN = 140_000;

/**
 * Per major, the first minor without a known fault of logical decoding: before `lossless`, rows of transactions that were open while a
 * table joined a publication could be left out of the stream; the mend of that could exhaust memory until `sound`.
 */
const SOUND_MINORS: Readonly<Record<number, { readonly lossless: number; readonly sound: number }>> = {
  14: { lossless: 18, sound: 19 },
  15: { lossless: 13, sound: 14 },
  16: { lossless: 9, sound: 10 },
  17: { lossless: 5, sound: 6 },
};

export async function checkVersion({ facts }: Pick<SourceCheckInput, 'facts'>): Promise<Finding[]> {
  const major = Math.floor(facts.version / 10_000);
  const minor = facts.version % 10_000;
  if (facts.version < VERSION_MIN) {
    return [
      errorFinding(
        'CF-2002',
        `the source is PostgreSQL ${major}; 14 is the oldest that is supported`,
        'Upgrade the source to a supported version.',
      ),
    ];
  }
  const known = SOUND_MINORS[major];
  if (known === undefined || minor >= known.sound) return [];
  const fault =
    minor < known.lossless
      ? 'rows written by transactions that are open while a table joins the publication can be missing from the stream (mended in the release of May 2025)'
      : 'decoding can run out of memory while tables join a publication (mended in the release of August 2025)';
  return [
    warningFinding(
      'CF-2002',
      `the source is PostgreSQL ${major}.${minor}: ${fault}`,
      `Upgrade to ${major}.${known.sound} or later; run crossfade verify after the copy in any case.`,
    ),
  ];
}

export async function checkRecovery({ facts }: SourceCheckInput): Promise<Finding[]> {
  if (!facts.inRecovery) return [];
  return [
    errorFinding(
      'CF-2002',
      'the source is a standby: snapshots taken there do not list every running transaction',
      'Point source.postgres at the primary.',
    ),
  ];
}

export async function checkWalLevel({ client }: SourceCheckInput): Promise<Finding[]> {
  const row = await queryRow(client, "SELECT pg_catalog.current_setting('wal_level') AS level");
  if (row?.['level'] === 'logical') return [];
  return [
    errorFinding(
      'CF-2002',
      `wal_level of the source is ${row?.['level']}; it must be logical`,
      'ALTER SYSTEM SET wal_level = logical;  -- then restart the source server (on a managed service: rds.logical_replication or cloudsql.logical_decoding)',
    ),
  ];
}

export async function checkCapacity({ client, name }: SourceCheckInput): Promise<Finding[]> {
  const row = await queryRow(
    client,
    `SELECT pg_catalog.current_setting('max_replication_slots') AS slots, pg_catalog.current_setting('max_wal_senders') AS senders,
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots) AS slots_used,
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1) AS ours,
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_wal_senders()) AS senders_used`,
    [name],
  );
  const figure = (column: string): number => Number(row?.[column] ?? 0);
  const findings: Finding[] = [];
  if (figure('ours') === 0 && figure('slots') - figure('slots_used') < 1) {
    const remedy = `ALTER SYSTEM SET max_replication_slots = ${figure('slots') + 2};  -- then restart the source server; or drop a slot that nobody needs: SELECT slot_name, active FROM pg_replication_slots`;
    findings.push(
      errorFinding('CF-2002', `no replication slot is free on the source: ${figure('slots_used')} of ${figure('slots')} are taken`, remedy),
    );
  }
  const free = figure('senders') - figure('senders_used');
  if (figure('ours') === 0 && free < 1) {
    const remedy = `ALTER SYSTEM SET max_wal_senders = ${figure('senders') + 2};  -- then restart the source server`;
    findings.push(
      errorFinding('CF-2002', `no walsender is free on the source: ${figure('senders_used')} of ${figure('senders')} are in use`, remedy),
    );
  }
  return findings;
}

export async function checkWalLimits({ client }: SourceCheckInput): Promise<Finding[]> {
  const row = await queryRow(
    client,
    `SELECT pg_catalog.current_setting('max_slot_wal_keep_size') AS keep,
            pg_catalog.current_setting('idle_replication_slot_timeout', true) AS idle,
            pg_catalog.current_setting('wal_sender_timeout') AS sender`,
  );
  const findings: Finding[] = [];
  const keep = row?.['keep'] ?? '-1';
  if (keep !== '-1') {
    const message = `max_slot_wal_keep_size is ${keep}: a slot that falls further behind is lost, and the copy starts again`;
    findings.push(
      warningFinding(
        'CF-2002',
        message,
        "ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf();  -- and watch the slot's retained bytes",
      ),
    );
  }
  const idle = row?.['idle'] ?? '0';
  if (idle !== '0' && idle !== '') {
    const message = `idle_replication_slot_timeout is ${idle}: the slot is lost when crossfade stands still for longer`;
    findings.push(warningFinding('CF-2002', message, 'ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();'));
  }
  if (row?.['sender'] === '0') {
    findings.push(
      infoFinding(
        'CF-2002',
        'wal_sender_timeout is 0: a connection that broke silently keeps the slot in use',
        "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();",
      ),
    );
  }
  return findings;
}

export async function checkEncoding({ facts }: SourceCheckInput): Promise<Finding[]> {
  if (facts.encoding !== 'SQL_ASCII') return [];
  return [
    errorFinding(
      'CF-2002',
      'the source database is encoded SQL_ASCII: the server does not know what its bytes mean, so no text can be converted without loss',
      "Find the real encoding, then make a database with it: CREATE DATABASE new_name ENCODING 'UTF8' TEMPLATE template0; and load a dump that was taken with that client_encoding.",
    ),
  ];
}

/** Opens a replication connection: pg_hba.conf, the role and max_wal_senders are proved at once. */
export async function checkReplicationConnection({ url, facts, client }: SourceCheckInput): Promise<Finding[]> {
  const row = await queryRow(client, "SELECT pg_catalog.current_setting('wal_level') AS level");
  if (!mayReplicate(facts) || row?.['level'] !== 'logical') return []; // reported by other checks, with a better remedy
  try {
    await identifySystem(url);
    return [];
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    const remedy = `Let ${facts.role} connect to ${facts.database} in pg_hba.conf (a line for the database name, not "replication"), then SELECT pg_reload_conf();`;
    return [errorFinding('CF-2002', `the source refuses a replication connection: ${cause}`, remedy)];
  }
}
