/**
 * How a reader takes over a log that others may write. Guarantee: its epoch is written, and the log's tail read, only while it holds the
 * replication slot: so whoever may move the slot has read all that was appended before it, and what a predecessor appends after that is
 * void. The slot does not move until the log says how far it may.
 *
 * The order: the publication, the slot (made when the log holds nothing), the stream (open and paused), the epoch, the tail, the checks.
 */
import type pg from 'pg';
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { SharedLog } from '#connectors/change-log/shared-log.ts';
import { waitForSlot } from '#connectors/source/postgres/reader-lock.ts';
import { identifySystem, readSlot, type SystemIdentity } from '#connectors/source/postgres/slot.ts';
import type { StreamOptions } from '#connectors/source/postgres/stream.ts';
import { invariant } from '#schemas/errors.ts';
import { parseLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { EpochRecord } from './control-records.ts';
import { appendControl } from './follow.ts';
import { holdStream, type HeldStream } from './held-stream.ts';
import { checkSlot, recoverControl, recoverLog, type RecoveredLog } from './recover.ts';
import type { SourcePreparation } from './source-preparation.ts';

export interface TakeOverOptions {
  readonly name: string;
  readonly url: string;
  readonly raw: SharedLog;
  readonly progress: Topic;
  readonly logger: Logger;
  readonly stream: StreamOptions;
  readonly client: pg.Client;
  readonly statusEveryMs: number;
  readonly preparation: SourcePreparation;
  readonly checkIdentity: (log: RecoveredLog, identity: Awaited<ReturnType<typeof identifySystem>>) => Promise<void>;
  /** From here on a re-copy can be asked for. */
  readonly openCopy: () => Promise<void>;
}

export interface TakenOver {
  readonly epoch: number;
  readonly identity: SystemIdentity;
  readonly held: HeldStream;
  readonly log: RecoveredLog;
}

/** @throws PipelineError CF-2004, CF-2005, and what ends the stream or the log */
export async function takeOver(options: TakeOverOptions, signal: AbortSignal): Promise<TakenOver> {
  const { name, client, preparation, logger } = options;
  await preparation.publish(client);
  if ((await readSlot(client, name)) === undefined) await makeSlot(options, signal);
  const onWaiting = (holder: string): void => logger.info({ holder }, 'the replication slot is in use; waiting until it is free');
  await waitForSlot(client, { name, onWaiting }, signal);
  const held = await holdStream(options.stream, { statusEveryMs: options.statusEveryMs, confirmed: await confirmedBy(client, name) });
  try {
    signal.throwIfAborted();
    return { held, ...(await recover(options, signal)) };
  } catch (error) {
    await held.stream.stop();
    throw error;
  }
}

/** The slot of a log that was written before is not made anew: what lies between is lost. */
async function makeSlot({ name, client, progress, preparation }: TakeOverOptions, signal: AbortSignal): Promise<void> {
  const { durable, ...control } = await recoverControl(progress);
  const durableEnd = durable === undefined ? ZERO_LSN : parseLsn(durable.endLsn);
  checkSlot(name, undefined, { ...control, lastCommit: ZERO_LSN, durableEnd });
  await preparation.makeSlot(client, signal);
}

async function confirmedBy(client: pg.Client, name: string): Promise<Lsn> {
  const slot = await readSlot(client, name);
  return slot?.confirmedFlush ?? ZERO_LSN;
}

/** With the slot in hand. */
async function recover(options: TakeOverOptions, signal: AbortSignal): Promise<Omit<TakenOver, 'held'>> {
  const { name, url, raw, progress, client, preparation } = options;
  const before = await recoverControl(progress);
  const found = await identifySystem(url, before.identity?.timeline);
  const { systemId, timeline } = found;
  failpoint('start.connected');
  const epoch = await appendControl(progress, { t: 'epoch', systemId, timeline } satisfies EpochRecord);
  await raw.begin(epoch);
  // The last epoch record is ours now; the check is about the one before.
  const log = { ...(await recoverLog(raw, progress)), identity: before.identity };
  failpoint('start.log-recovered');
  await options.checkIdentity(log, found);
  const slot = await readSlot(client, name);
  checkSlot(name, slot, log);
  invariant(slot !== undefined, 'a slot is there while its stream is open');
  await options.openCopy();
  await preparation.account(client, log, true, signal);
  const begun = log.fresh ? await preparation.beginAt(log, slot.confirmedFlush, raw.end(0)) : log;
  return { epoch, identity: { systemId, timeline }, log: begun };
}
