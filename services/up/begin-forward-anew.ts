/**
 * The forward direction begun anew while the target serves: the source failed over to a standby that lacks the slot, or what was read. Guarantee: it is done only where nothing of what is given up
 * can count. The source is fenced, by a decision that its own journal has, and both journals are held (SHARE: no row is written to them) from that look until slot and place are recorded; so
 * whatever is written on the source for applications comes behind the slot. Nothing is copied: the target has it all, and more.
 *
 * Why not go on in the old log: LSNs behind the fork come twice, and the second time they would pass for duplicates.
 *
 * If the process dies: a file in the data directory stands from before the old log goes until the target has the new place; where it is found, all of it is done once more before anything runs.
 * Only where the target has that place already there is nothing left to do: the file names it, and the row of an older log does not stand at the beginning of one. Then it may be that the source
 * serves again (a forced rollback in between): what it was written since lies behind the slot.
 */
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { connect } from '#connectors/postgres/session.ts';
import { ensurePublication } from '#connectors/source/postgres/publication.ts';
import { createSlot, dropSlot, identifySystem, runningTransactions } from '#connectors/source/postgres/slot.ts';
import { beginFilled } from '#connectors/target/postgres/begin-filled.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import { readProgress, readTableProgress } from '#connectors/target/postgres/progress.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { formatLsn, type Lsn, ZERO_LSN } from '#schemas/lsn.ts';
import { isBereft, isKnown, lastDecision } from '#schemas/migration/recovery.ts';
import { actOf } from '#schemas/migration/transitions.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { CopyRecord, TableFilledRecord } from '#services/reader/copy/control-record.ts';
import { appendControl } from '#services/reader/follow.ts';
import { recoverControl } from '#services/reader/recover.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { Migration } from './read-migration.ts';

const TOPICS = ['raw', 'progress', 'dlq'] as const;
const MARK = 'forward-anew';
/** The journals are written to by flips only. */
const SETTINGS: Readonly<Record<string, string>> = { lock_timeout: '10000' };

export interface ForwardLog {
  readonly file: MigrationFile;
  readonly migration: Migration;
  readonly dataDir: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Where it begins. `later`: an act is under way, or the source is not fenced yet. `never`: what is in the old log counts, or nobody knows. */
export type Beginning = Lsn | 'later' | 'never';

/** @throws PipelineError where a side cannot be asked; CF-3004 */
export async function beginForwardAnew(forward: ForwardLog): Promise<Beginning> {
  const { file, dataDir, signal } = forward;
  await using stack = new AsyncDisposableStack();
  const open = async (role: 'source' | 'target', url: string): Promise<pg.Client> =>
    stack.adopt(await connect(url, { applicationName: 'crossfade forward', role, settings: SETTINGS }), end);
  const target = await open('target', file.target.postgres!);
  if ((await readStateRow(target, file.name))?.serves !== 'target' || !(await isSameSystem(forward))) return 'never';
  const [journal, source] = [await open('source', file.source.postgres), await open('source', file.source.postgres)];
  // It stood before the first cut-over, and whoever raises the fence makes it again.
  if ((await journal.query(`SELECT WHERE to_regclass('crossfade.journal') IS NOT NULL`)).rowCount === 0) return 'later';
  const sides: Sides = { target, journal, source };
  // A slot waits for every running transaction; a stop does not.
  const stop = (): void => void end(sides.source);
  signal.addEventListener('abort', stop, { once: true });
  stack.defer(() => signal.removeEventListener('abort', stop));
  const begun = await held(sides, async () => anew(forward, sides));
  failpoint('forward.begun');
  if (typeof begun !== 'string') await rm(join(dataDir, MARK));
  return begun;
}

/** An earlier process died over it. */
export function isHalfBegun(dataDir: string): boolean {
  return existsSync(join(dataDir, MARK));
}

/** The process died between the target's COMMIT and the end of the mark. @throws PipelineError where the target cannot be asked */
export async function wasBegun({ file, dataDir }: Pick<ForwardLog, 'file' | 'dataDir'>): Promise<boolean> {
  const place = await readFile(join(dataDir, MARK), 'utf8');
  const target = await connect(file.target.postgres!, { applicationName: 'crossfade forward', role: 'target' });
  try {
    const progress = await readProgress(target, file.name);
    if (progress?.appliedLsn === undefined || progress.logOffset !== 0 || formatLsn(progress.appliedLsn) !== place) return false;
  } finally {
    await end(target);
  }
  await rm(join(dataDir, MARK));
  return true;
}

/** Of another one nobody knows whether it is this source at all. */
async function isSameSystem({ file, dataDir }: ForwardLog): Promise<boolean> {
  if (isHalfBegun(dataDir)) return true;
  const log = await openEmbeddedLog({ directory: join(dataDir, 'log') });
  try {
    const { identity } = await recoverControl(await log.topic('progress', { partitions: 1 }));
    return identity === undefined || identity.systemId === (await identifySystem(file.source.postgres)).systemId;
  } finally {
    await log.close();
  }
}

interface Sides {
  readonly target: pg.Client;
  readonly source: pg.Client;
  /** Holds the source's journal. */
  readonly journal: pg.Client;
}

async function end(client: pg.Client): Promise<void> {
  await client.end().catch(() => undefined);
}

async function held({ target, journal }: Sides, work: () => Promise<Beginning>): Promise<Beginning> {
  const holding = [target, journal];
  try {
    for (const client of holding) await client.query('BEGIN; LOCK TABLE crossfade.journal IN SHARE MODE');
    const begun = await work();
    await target.query(typeof begun === 'string' ? 'ROLLBACK' : 'COMMIT');
    return begun;
  } finally {
    for (const client of holding) await client.query('ROLLBACK').catch(() => undefined);
  }
}

async function anew({ file, migration, dataDir, logger }: ForwardLog, { target, journal, source }: Sides): Promise<Beginning> {
  const { name, settings } = file;
  const journals = { source: await readJournalRows(journal, name), target: await readJournalRows(target, name) };
  const standing = await readStateRow(target, name);
  const decision = lastDecision(journals);
  if (standing?.serves !== 'target' || decision?.serves !== 'target' || isBereft(standing, journals)) return 'never';
  if (actOf(standing.state) !== undefined) return 'later';
  if (standing.state !== 'observing') return 'never';
  // What has lost the decision is not fenced.
  if (!isKnown(journals, 'source', decision.epoch)) return 'later';
  if (!(await isWhole(target, migration))) return 'never';
  await beginLog(dataDir, migration);
  failpoint('forward.log-anew');
  await ensurePublication(source, name, migration.sourceTables, settings.publication.create);
  await dropSlot(source, name);
  logger.info({ waitsFor: await runningTransactions(source) }, 'creating the replication slot; it waits for running transactions to end');
  const lsn = await createSlot(source, name, settings.slot.failover);
  failpoint('forward.slot-made');
  await beginFilled(target, migration.mapping, lsn);
  await writeFile(join(dataDir, MARK), formatLsn(lsn), { flush: true });
  return lsn;
}

/** A table that came into the file since, or that is held, does not have every row. */
async function isWhole(target: pg.Client, { mapping }: Migration): Promise<boolean> {
  const progress = await readProgress(target, mapping.name);
  if (progress?.mappingHash !== mapping.hash) return false;
  return (await readTableProgress(target, mapping.name)).every(({ state }) => state === 'following');
}

/** Under the lock of the directory. What an operator has set of the copy goes with the old one. */
async function beginLog(dataDir: string, { sourceTables }: Migration): Promise<void> {
  const directory = join(dataDir, 'log');
  const log = await openEmbeddedLog({ directory });
  try {
    await writeFile(join(dataDir, MARK), '', { flush: true });
    for (const topic of TOPICS) await rm(join(directory, topic), { recursive: true, force: true });
    const progress = await log.topic('progress', { partitions: 1 });
    for (const { schema, name } of sourceTables)
      await appendControl(progress, { t: 'table-filled', schema, table: name } satisfies TableFilledRecord);
    await appendControl(progress, { t: 'copy-complete', lsn: formatLsn(ZERO_LSN) } satisfies CopyRecord);
  } finally {
    await log.close();
  }
}
