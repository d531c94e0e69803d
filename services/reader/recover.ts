/**
 * What a starting reader learns from the log. Guarantee: it depends on durable records only, and never claims a commit that is
 * not whole in the log.
 */
import { decodeCommit, TAG } from '#schemas/pgoutput/message.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, maxLsn, parseLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { isShared, type SharedLog } from '#connectors/change-log/shared-log.ts';
import { readAll } from '#services/runtime/records.ts';
import type { SlotHealth, SystemIdentity } from '#connectors/source/postgres/slot.ts';
import type { DurableRecord, EpochRecord, PublicationRecord, ReaderRecord, RelationRecord } from './control-records.ts';

/** What the control records say. */
export interface RecoveredControl {
  /** Nothing was ever read: a new migration. */
  readonly fresh: boolean;
  /** Highest LSN that the slot may have been told. */
  readonly confirmed: Lsn;
  readonly identity: SystemIdentity | undefined;
  /** Under what each relation was published at the last look. */
  readonly prints: ReadonlyMap<string, string>;
}

export interface RecoveredLog extends RecoveredControl {
  readonly lastCommit: Lsn;
  readonly durableEnd: Lsn;
}

interface Tail {
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
}

/** Without the raw log: for a reader that may not look at it yet. */
export async function recoverControl(progress: Topic): Promise<RecoveredControl & { readonly durable: DurableRecord | undefined }> {
  let durable: DurableRecord | undefined;
  let epoch: EpochRecord | undefined;
  let confirmed = ZERO_LSN;
  let prints: ReadonlyMap<string, string> = new Map();
  await readAll(progress, progress.start(0), (frame) => {
    const record = JSON.parse(frame.toString('utf8')) as ReaderRecord | { readonly t: string };
    if (record.t === 'durable') {
      durable = record as DurableRecord;
      confirmed = maxLsn(confirmed, parseLsn(durable.confirm));
    } else if (record.t === 'epoch') epoch = record as EpochRecord;
    else if (record.t === 'publication') prints = new Map(Object.entries((record as PublicationRecord).prints));
  });
  const identity = epoch && { systemId: epoch.systemId, timeline: epoch.timeline };
  return { fresh: durable === undefined, confirmed, identity, prints, durable };
}

/** Reads the control records, then the raw tail behind the last durable record. @throws PipelineError CF-3002 when the raw log lost records */
export async function recoverLog(raw: Topic, progress: Topic): Promise<RecoveredLog> {
  const { durable, fresh, ...control } = await recoverControl(progress);
  if (durable && durable.offset > raw.end(0)) {
    throw new PipelineError(
      'CF-3002',
      `the raw log ends at offset ${raw.end(0)}, but ${durable.offset} were durable and the slot has moved past them`,
    );
  }
  const known: Tail = durable
    ? { commitLsn: parseLsn(durable.commitLsn), endLsn: parseLsn(durable.endLsn) }
    : { commitLsn: ZERO_LSN, endLsn: ZERO_LSN };
  if (isShared(raw)) await describeRelations(raw, progress);
  const tail = await readTail(raw, durable?.offset ?? 0);
  return {
    ...control,
    fresh: fresh && raw.end(0) === 0,
    lastCommit: maxLsn(known.commitLsn, tail.commitLsn),
    durableEnd: maxLsn(known.endLsn, tail.endLsn),
  };
}

/** Changes may go on with a relation that was described in a transaction which the log need not hold any more. */
async function describeRelations(raw: SharedLog, progress: Topic): Promise<void> {
  const latest = new Map<number, RelationRecord>();
  await readAll(progress, progress.start(0), (frame) => {
    const record = JSON.parse(frame.toString('utf8')) as RelationRecord | { readonly t: string };
    if (record.t !== 'relation') return;
    const { oid, offset } = record as RelationRecord;
    if (offset < raw.end(0) && offset >= (latest.get(oid)?.offset ?? 0)) latest.set(oid, record as RelationRecord);
  });
  for (const { frame } of latest.values()) raw.learn(Buffer.from(frame, 'base64'));
}

/** The last whole commit at or behind `offset`, zero when there is none. */
async function readTail(raw: Topic, offset: Offset): Promise<Tail> {
  if (isShared(raw)) return raw.lastCommit() ?? { commitLsn: ZERO_LSN, endLsn: ZERO_LSN };
  let [commitLsn, endLsn] = [ZERO_LSN, ZERO_LSN];
  await readAll(raw, Math.max(raw.start(0), offset), (frame) => {
    if (frame[0] !== TAG.commit) return;
    const commit = decodeCommit(frame);
    commitLsn = maxLsn(commitLsn, commit.commitLsn);
    endLsn = maxLsn(endLsn, commit.endLsn);
  });
  return { commitLsn, endLsn };
}

/** @throws PipelineError CF-2005 when the source is not the one that was read before, or lost what was read. */
export function checkIdentity(known: SystemIdentity | undefined, now: SystemIdentity & { readonly forkLsn?: Lsn }, highestEnd: Lsn): void {
  if (!known) return;
  if (known.systemId !== now.systemId) {
    throw new PipelineError('CF-2005', `the source is system ${now.systemId}; this migration read from system ${known.systemId}`);
  }
  if (now.timeline < known.timeline) {
    throw new PipelineError('CF-2005', `the source is on timeline ${now.timeline}, behind timeline ${known.timeline} that was read before`);
  }
  if (now.timeline > known.timeline && (now.forkLsn === undefined || now.forkLsn < highestEnd)) {
    throw new PipelineError(
      'CF-2005',
      `the source was failed over to timeline ${now.timeline} at ${now.forkLsn === undefined ? 'an unknown LSN' : formatLsn(now.forkLsn)}, but changes up to ${formatLsn(highestEnd)} were read from the old one`,
      {
        remedy:
          'The target shows changes that the new primary never had. While the source serves: clean up and copy again. While the target does, leave it as it is: start crossfade up again (docs/cutover.md).',
      },
    );
  }
}

/** @throws PipelineError CF-2004 when the slot cannot give what follows the log's tail. */
export function checkSlot(name: string, slot: SlotHealth | undefined, log: RecoveredLog): void {
  if (!slot) {
    if (log.fresh) return;
    throw new PipelineError('CF-2004', `replication slot ${name} is gone; the log ends at ${formatLsn(log.durableEnd)}`);
  }
  if (slot.walStatus === 'lost')
    throw new PipelineError('CF-2004', `replication slot ${name} has lost the WAL it needs (wal_status = lost)`);
  if (slot.plugin !== 'pgoutput') {
    throw new PipelineError('CF-2004', `replication slot ${name} uses the plugin ${slot.plugin}, not pgoutput`, {
      remedy: 'Give the migration another name, or drop that slot.',
    });
  }
  const known = maxLsn(log.confirmed, log.durableEnd);
  if (!log.fresh && slot.confirmedFlush > known) {
    throw new PipelineError(
      'CF-2004',
      `replication slot ${name} was moved to ${formatLsn(slot.confirmedFlush)} by somebody else, past ${formatLsn(known)} that is durable here`,
    );
  }
}
