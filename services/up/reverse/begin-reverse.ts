/**
 * Where the reverse direction begins: at the consistent point of its slot on the target, with every table followed and nothing copied.
 * Guarantee: what is written on the target from the cut-over on is in the slot; and a path that has lost its place is begun anew only
 * while the source serves, or on an operator's word, which is recorded: what was written meanwhile is then told by a comparison, and a rollback makes one of everything before it locks a table.
 *
 * Why that is enough. Before the cut-over nobody but the forward sink may write on the target, and what it writes the source has already: a
 * path that begins late misses nothing. From the cut-over's COMMIT on everything counts. That COMMIT is of a row of the source's journal,
 * so to begin is to hold the journal locked (SHARE: no row is written to it) from the look that says "the source serves" until the slot is
 * there and its place is recorded on the source. A cut-over is decided either before, and then nothing is begun, or after, and
 * then the slot is older than the first write that counts. That journal is of every migration from this source: other waves' decisions wait for the lock, too, and their
 * writers with them. So what a slot has to wait for is waited for before; what begins in between, for some seconds, and then all of it anew.
 *
 * If the process dies: before the commit below there is no progress row, and the next start drops the slot and begins anew; after it the row names a
 * slot that nobody has moved, and an empty log whose first record is the row's position.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { connect } from '#connectors/postgres/session.ts';
import { ensurePublication } from '#connectors/source/postgres/publication.ts';
import {
  createSlot,
  dropSlot,
  hasSettled,
  identifySystem,
  nextTransaction,
  readSlot,
  runningTransactions,
} from '#connectors/source/postgres/slot.ts';
import { beginFilled } from '#connectors/target/postgres/begin-filled.ts';
import { noteAudit, readStateRow } from '#connectors/target/postgres/migration-state.ts';
import { readProgress } from '#connectors/target/postgres/progress.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { isBereft, REVERSE_ANEW, whoServes } from '#schemas/migration/recovery.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { recoverControl, recoverLog } from '#services/reader/recover.ts';
import type { Logger } from '#services/runtime/service.ts';
import { bereft } from './serving-side.ts';

export interface Beginning {
  /** The migration's: the journals are under it. */
  readonly forwardName: string;
  /** Of the reverse direction. */
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  /** The target's tables that it reads. */
  readonly tables: readonly CatalogTable[];
  /** An operator's word: a place that was lost while the target serves is given up. */
  readonly mayLose: boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface ReverseLog extends AsyncDisposable {
  readonly raw: Topic;
  readonly progress: Topic;
}

/** How the log is opened, and where it lies. */
export interface LogPlace<L extends ReverseLog> {
  readonly directory: string;
  open(): Promise<L>;
}

/** @throws PipelineError CF-8203 when the place is lost and the target serves; CF-2003, CF-5002, CF-8005 */
export async function beginReverse<L extends ReverseLog>(beginning: Beginning, place: LogPlace<L>): Promise<L> {
  const { file, mapping, signal } = beginning;
  await using stack = new AsyncDisposableStack();
  const read = stack.adopt(await connect(file.source.postgres, { applicationName: 'crossfade reverse', role: 'target' }), end);
  const applied = stack.adopt(await connect(file.target.postgres!, { applicationName: 'crossfade reverse', role: 'source' }), end);
  // A slot waits for every running transaction; a stop does not.
  const stop = (): void => void end(read);
  signal.addEventListener('abort', stop, { once: true });
  stack.defer(() => signal.removeEventListener('abort', stop));
  await ensureSchema(applied);
  let log = await place.open();
  try {
    const found = await look(file, mapping.hash, { read, applied, log });
    if (found === 'standing') return log;
    await log[Symbol.asyncDispose]();
    await anew(beginning, { read, applied, found, wipe: async () => rm(place.directory, { recursive: true, force: true }) });
    log = await place.open();
    return log;
  } catch (error) {
    await log[Symbol.asyncDispose]();
    throw error;
  }
}

async function end(client: pg.Client): Promise<void> {
  await client.end().catch(() => undefined);
}

interface Standing {
  readonly read: pg.Client;
  readonly applied: pg.Client;
  readonly log: ReverseLog;
}

/** `changed`: it stands, for other tables or another mapping of them. */
type Found = 'standing' | 'changed' | 'lost';

/** Slot, log and progress belong together; what else may be wrong with them reader and sink say. */
async function look({ name, source }: MigrationFile, hash: string, { read, applied, log }: Standing): Promise<Found> {
  const slot = await readSlot(read, name);
  const progress = await readProgress(applied, name);
  if (slot === undefined || slot.walStatus === 'lost' || progress?.logOffset === undefined) return 'lost';
  // A log that is gone was begun anew, and holds less than was applied of it.
  if (progress.logOffset > log.raw.end(0) || progress.logOffset < log.raw.start(0)) return 'lost';
  if (progress.logOffset > 0 && (await recoverControl(log.progress)).fresh) return 'lost';
  if (!(await holdsWhatWasRead(source.postgres, log))) return 'lost';
  return progress.mappingHash === hash ? 'standing' : 'changed';
}

/** A standby that took the target's place may have the slot, and not all that was read from it. */
async function holdsWhatWasRead(url: string, { raw, progress }: ReverseLog): Promise<boolean> {
  const { identity, durableEnd } = await recoverLog(raw, progress);
  if (identity === undefined) return true;
  const now = await identifySystem(url, identity.timeline);
  return now.forkLsn === undefined || now.forkLsn >= durableEnd;
}

interface Sessions {
  readonly read: pg.Client;
  readonly applied: pg.Client;
  readonly found: Found;
  readonly wipe: () => Promise<void>;
}

/** Longer than a fence waits for its journal (5 s): a cut-over that was about to be decided backs out, and looks at its gates again. */
const LOCKED_MS = 8_000;
const SETTLE_POLL_MS = 100;

async function anew(beginning: Beginning, sessions: Sessions): Promise<void> {
  const { file, tables } = beginning;
  const { read } = sessions;
  await ensurePublication(read, file.name, tables, file.settings.publication.create);
  do await settle(beginning, read);
  while (!(await beginSettled(beginning, sessions)));
}

/** Every transaction that runs now has ended. */
async function settle({ file, logger, signal }: Beginning, read: pg.Client): Promise<void> {
  const xid = await nextTransaction(read);
  logger.info(
    { slot: file.name, waitsFor: await runningTransactions(read) },
    'creating the replication slot; it waits for running transactions to end',
  );
  while (!(await hasSettled(read, xid))) await delay(SETTLE_POLL_MS, undefined, { signal });
}

/** @returns false where the slot could not be made in time: nothing is begun, and nothing held */
async function beginSettled(beginning: Beginning, { read, applied, found, wipe }: Sessions): Promise<boolean> {
  const { forwardName, file, mapping, logger } = beginning;
  const { name, settings } = file;
  await applied.query('BEGIN');
  try {
    await applied.query('LOCK TABLE crossfade.journal IN SHARE MODE');
    const journals = { source: await readJournalRows(applied, forwardName), target: await readJournalRows(read, forwardName) };
    if (isBereft(await readStateRow(read, forwardName), journals)) throw bereft(forwardName);
    const isGap = whoServes(journals) === 'target';
    if (isGap && (found === 'changed' || !beginning.mayLose)) {
      await applied.query('ROLLBACK');
      if (found === 'changed') return true;
      throw new PipelineError('CF-8203', `the reverse path ${name} has lost its place, and the target serves`);
    }
    await wipe();
    await dropSlot(read, name);
    failpoint('reverse.slot-gone');
    const lsn = await slotInTime(read, name, settings.slot.failover);
    if (lsn === undefined) {
      await applied.query('ROLLBACK');
      return false;
    }
    failpoint('reverse.slot-made');
    await beginFilled(applied, mapping, lsn);
    failpoint('reverse.begun');
    if (isGap) await noteGap(beginning, applied, lsn);
    await applied.query('COMMIT');
  } catch (error) {
    await applied.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
  logger.info({ slot: name }, 'The reverse path begins');
  return true;
}

/** Undefined: a transaction that has begun meanwhile keeps it from being made. */
async function slotInTime(read: pg.Client, name: string, failover: boolean): Promise<Lsn | undefined> {
  await read.query(`SET statement_timeout = ${LOCKED_MS}`);
  try {
    return await createSlot(read, name, failover);
  } catch (error) {
    if ((error as { code?: string }).code !== QUERY_CANCELED) throw error;
    return undefined;
  } finally {
    // A session that is gone needs none.
    await read.query('RESET statement_timeout').catch(() => undefined);
  }
}

const QUERY_CANCELED = '57014';

/** Before the commit: a record too many is better than a gap that nobody knows of. */
async function noteGap({ forwardName, file, logger }: Beginning, applied: pg.ClientBase, lsn: Lsn): Promise<void> {
  const details = { lsn: formatLsn(lsn) };
  await applied.query('UPDATE crossfade.progress SET gap_lsn = $2 WHERE name = $1', [file.name, details.lsn]);
  await noteAudit(file.source.postgres, forwardName, { actor: 'crossfade up', event: REVERSE_ANEW, details });
  logger.warn(
    { slot: file.name, ...details },
    'The way back had lost its place while the target serves and begins anew: crossfade verify tells the rows that did not come back, crossfade repair copies them to the source',
  );
}

/** What stands of it on both sides goes. To be called once nothing runs it and what the target was written is not to go back. */
export async function removeReverse({
  source,
  target,
  name,
}: {
  readonly source: string;
  readonly target: string;
  readonly name: string;
}): Promise<void> {
  const read = await connect(target, { applicationName: 'crossfade reverse', role: 'target' });
  try {
    await dropSlot(read, name);
    await read.query(`DROP PUBLICATION IF EXISTS "${name}"`);
  } finally {
    await end(read);
  }
  const applied = await connect(source, { applicationName: 'crossfade reverse', role: 'source' });
  try {
    if ((await applied.query(`SELECT WHERE to_regclass('crossfade.progress') IS NULL`)).rowCount === 1) return;
    await applied.query('DELETE FROM crossfade.progress WHERE name = $1', [name]);
    await applied.query('DELETE FROM crossfade.markers WHERE name = $1', [name]);
  } finally {
    await end(applied);
  }
}
