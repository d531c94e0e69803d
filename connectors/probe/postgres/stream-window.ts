/**
 * The stretch of the stream that a comparison needs, read beside the running pipeline. Guarantee: `changes` gives every transaction of
 * the publication with commit LSN in [start, upTo), whole and in commit order, from a temporary copy of the migration's slot; the slot
 * itself never moves and the copy ends with the session.
 */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import { quoteLiteral } from '#schemas/table.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { cursor } from './table-scan.ts';

export interface StreamWindow {
  /** The slot peeked at. */
  readonly slot: string;
  /** Changes with a commit LSN below this are not in it any more. */
  readonly start: Lsn;
  /** Whether a running instance reads the migration's slot. */
  readonly active: boolean;
}

/** By literals: a session that streams takes no parameters. */
function slotSql(slot: string): string {
  return `SELECT confirmed_flush_lsn::text AS flush, active::text, wal_status FROM pg_replication_slots
WHERE slot_name = ${quoteLiteral(slot)} AND database = current_database() AND plugin = 'pgoutput'`;
}

/** configuration_limit_exceeded: all slots are taken. */
const NO_FREE_SLOT = '53400';

/** @throws PipelineError CF-2004 when the migration's slot is gone or lost, CF-6002 when all slots are taken. */
export async function openWindow(client: pg.ClientBase, slot: string): Promise<StreamWindow> {
  const found = await readOwnSlot(client, slot);
  const active = found['active'] === 'true';
  try {
    return { ...(await copyOf(client, slot, 'verify')), active };
  } catch (error) {
    if (active || !isWithoutFreeSlot(error)) throw error;
    return { slot, start: parseLsn(found['flush']!), active };
  }
}

/** A temporary copy of the migration's slot, which ends with the session. @throws as `openWindow` */
export async function copySlot(
  client: pg.ClientBase,
  slot: string,
  purpose: string,
): Promise<{ readonly slot: string; readonly start: Lsn }> {
  await readOwnSlot(client, slot);
  return copyOf(client, slot, purpose);
}

async function readOwnSlot(client: pg.ClientBase, slot: string): Promise<Record<string, string | null>> {
  const found = await queryRow(client, slotSql(slot));
  if (!found?.['flush']) throw new PipelineError('CF-2004', `the source has no replication slot ${slot} in this database`);
  if (found['wal_status'] === 'lost')
    throw new PipelineError('CF-2004', `replication slot ${slot} has lost the WAL it needs (wal_status = lost)`);
  return found;
}

function isWithoutFreeSlot(error: unknown): boolean {
  return error instanceof PipelineError && (error.cause as { code?: string } | undefined)?.code === NO_FREE_SLOT;
}

async function copyOf(client: pg.ClientBase, slot: string, purpose: string): Promise<{ readonly slot: string; readonly start: Lsn }> {
  const copy = `${slot.slice(0, 40)}_${purpose}_${randomBytes(4).toString('hex')}`;
  try {
    await client.query(`SELECT pg_copy_logical_replication_slot(${quoteLiteral(slot)}, ${quoteLiteral(copy)}, true)`);
  } catch (error) {
    if ((error as { code?: string }).code !== NO_FREE_SLOT) throw error;
    // Only the message reaches who reads a verdict.
    const message =
      'the source has no free replication slot for the comparison: raise max_replication_slots, or drop a slot that nobody uses';
    throw new PipelineError('CF-6002', message, { cause: error, details: { cause: 'unreadable' } });
  }
  const copied = await queryRow(client, slotSql(copy));
  if (!copied?.['flush']) throw new PipelineError('CF-6002', `the copy of replication slot ${slot} has no position`);
  return { slot: copy, start: parseLsn(copied['flush']) };
}

export async function slotIsActive(client: pg.ClientBase, slot: string): Promise<boolean> {
  return (await queryRow(client, slotSql(slot)))?.['active'] === 'true';
}

/**
 * pgoutput messages (protocol 1) of the window. The server keeps the answer in a temporary file, we read it in parts.
 * @param rowsMax The server stops at the first commit behind this many messages.
 */
export async function* windowMessages(
  client: pg.ClientBase,
  window: StreamWindow,
  upTo: Lsn,
  options: { readonly publication: string; readonly rowsMax: number },
): AsyncGenerator<Buffer> {
  const publication = quoteLiteral(`"${options.publication.replaceAll('"', '""')}"`);
  const sql = `SELECT data FROM pg_logical_slot_peek_binary_changes(${quoteLiteral(window.slot)}, ${quoteLiteral(formatLsn(upTo))},
    ${options.rowsMax}, 'proto_version', '1', 'publication_names', ${publication})`;
  await client.query('BEGIN');
  try {
    for await (const row of cursor(client, sql)) yield Buffer.from(row['data']!.slice(2), 'hex');
  } finally {
    await client.query('ROLLBACK');
  }
}
