/** The replication slot, as it is before anything is created. */
import { queryRow } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, infoFinding, warningFinding } from '#schemas/finding.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { quoteLiteral } from '#schemas/table.ts';
import { readSlot, type SlotHealth } from '../slot.ts';
import type { SourceCheckInput } from './source-check.ts';

export async function checkSlot(input: SourceCheckInput): Promise<Finding[]> {
  const { client, name, resumed, settings, facts } = input;
  const slot = await readSlot(client, name);
  if (slot !== undefined) return checkExisting(input, slot);
  if (resumed) return [errorFinding('CF-2004', `slot ${name} is gone, but the target already shows changes that were read from it`)];
  const findings: Finding[] = [];
  if (!settings.createSlot) {
    const sql = `SELECT pg_create_logical_replication_slot(${quoteLiteral(name)}, 'pgoutput');`;
    findings.push(errorFinding('CF-2002', `slot ${name} does not exist, and the file says slot: { create: false }`, sql));
  }
  if (settings.failoverSlot && facts.version < 170_000) {
    findings.push(
      errorFinding(
        'CF-2002',
        'the file asks for a failover slot, which PostgreSQL has from 17 on',
        'Take slot.failover out of the file; after a failover the copy starts again.',
      ),
    );
  }
  if (settings.failoverSlot && facts.version >= 170_000) findings.push(...(await checkStandbys(input)));
  return findings;
}

/** A standby's own settings cannot be seen from here. */
async function checkStandbys({ client }: SourceCheckInput): Promise<Finding[]> {
  const row = await queryRow(client, "SELECT pg_catalog.current_setting('synchronized_standby_slots', true) AS slots");
  if ((row?.['slots'] ?? '') !== '') return [];
  return [
    warningFinding(
      'CF-2002',
      'synchronized_standby_slots is empty on the source: changes may be read that its standby does not have yet, and a failover then loses the place all the same',
      "ALTER SYSTEM SET synchronized_standby_slots = 'the physical slot of the standby'; SELECT pg_reload_conf();  -- and on the standby: sync_replication_slots = on, hot_standby_feedback = on, primary_slot_name, and dbname in primary_conninfo",
    ),
  ];
}

function checkExisting({ name, facts, resumed }: SourceCheckInput, slot: SlotHealth): Finding[] {
  const drop = `SELECT pg_drop_replication_slot(${quoteLiteral(name)});`;
  if (slot.plugin !== 'pgoutput') {
    return [
      errorFinding(
        'CF-2002',
        `slot ${name} exists with plugin ${slot.plugin || 'none (it is physical)'}; it must be pgoutput`,
        `Give the migration another name, or: ${drop}`,
      ),
    ];
  }
  if (slot.database !== facts.database) {
    return [
      errorFinding(
        'CF-2002',
        `slot ${name} belongs to database ${slot.database}, not to ${facts.database}`,
        `Give the migration another name, or: ${drop}`,
      ),
    ];
  }
  if (slot.walStatus === 'lost') {
    return [
      errorFinding(
        'CF-2004',
        `slot ${name} is lost: the source removed WAL that it needed`,
        `${drop}  -- then start again with an empty data directory and target`,
      ),
    ];
  }
  const findings: Finding[] = [];
  if (slot.walStatus === 'unreserved') {
    findings.push(
      warningFinding(
        'CF-2004',
        `slot ${name} is about to be lost: it holds back more than max_slot_wal_keep_size`,
        'Start crossfade up now, or raise max_slot_wal_keep_size and SELECT pg_reload_conf();',
      ),
    );
  }
  if (slot.active) {
    findings.push(
      infoFinding(
        'CF-2009',
        `slot ${name} is in use by pid ${slot.activePid ?? '?'}`,
        'As it should be while crossfade up runs; else stop the other session first.',
      ),
    );
  }
  if (!resumed && !slot.active) {
    const message = `slot ${name} is there already, at ${formatLsn(slot.confirmedFlush)}: crossfade up goes on from it`;
    findings.push(infoFinding('CF-2010', message, `If it is a left-over of another attempt: ${drop}`));
  }
  return findings;
}
