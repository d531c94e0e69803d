/** Where a session begins to read. Guarantee: nothing that the target lacks lies below it, and what lies below is known where it matters. */
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import type { Progress, TableProgress } from '#connectors/target/target.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { EpochFrame } from '#schemas/frame/frame.ts';
import { minLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { decodeRelation, type Relation } from '#schemas/pgoutput/message.ts';

interface RelationRecord {
  readonly t: string;
  readonly offset: Offset;
  readonly oid: number;
  readonly frame: string;
}

/** Descriptions of relations that stand below the offset, the latest of each; the reader keeps them in the progress topic. */
export async function readRelations(progress: Topic, below: Offset): Promise<readonly Relation[]> {
  const latest = new Map<number, RelationRecord>();
  const cursor = progress.read(0, progress.start(0));
  try {
    for (let batch = await cursor.poll(); batch !== undefined; batch = await cursor.poll()) {
      for (let p = 0; p < batch.bytes.length;) {
        const end = p + 4 + batch.bytes.readUInt32BE(p);
        const record = JSON.parse(batch.bytes.toString('utf8', p + 4, end)) as RelationRecord;
        p = end;
        if (record.t !== 'relation' || record.offset >= below) continue;
        const known = latest.get(record.oid);
        if (known === undefined || known.offset <= record.offset) latest.set(record.oid, record);
      }
    }
  } finally {
    await cursor.close();
  }
  return [...latest.values()].map((record) => decodeRelation(Buffer.from(record.frame, 'base64')));
}

/**
 * To be called before anything is appended: a log that was lost and begun anew must not grow up to where the target stands.
 * @throws PipelineError CF-5006 when the log and the target do not belong together.
 */
export function checkOffsets(raw: Topic, progress: Pick<Progress, 'mode' | 'logOffset'>, tables: readonly TableProgress[]): void {
  const [start, end] = [raw.start(0), raw.end(0)];
  const offsets =
    progress.mode === 'consistent'
      ? [progress.logOffset ?? start]
      : tables.map(({ logOffset }) => logOffset).filter((offset) => offset > 0);
  const outside = offsets.find((offset) => offset < start || offset > end);
  if (outside === undefined) return;
  throw new PipelineError(
    'CF-5006',
    `the target has applied the log up to record ${outside}, but the log holds records ${start} to ${end}`,
    {
      remedy:
        'Give the data directory (--data), or over Kafka the brokers, that belong to this target. If the log is lost: drop the slot and schema crossfade, empty the target tables, and start anew (docs/kafka.md).',
    },
  );
}

/**
 * Of the log on this disk: nothing is removed from it before the target has applied it, so a log that begins late belongs to a target
 * that has applied something.
 * @throws PipelineError CF-5006 when the target has lost what it had.
 */
export function checkBeginning(raw: Topic, progress: Pick<Progress, 'logOffset'>, tables: readonly TableProgress[]): void {
  const start = raw.start(0);
  // A table that stands below it has missed something: its target was away while others had the log cut.
  if (start === 0 || progress.logOffset !== undefined) return;
  if (!isUntouched({ progress, tables }) && tables.every(({ logOffset }) => logOffset >= start)) return;
  throw new PipelineError('CF-5006', `the target has applied nothing, but the log begins at record ${start}: the target lost what it had`, {
    remedy: 'Restore the target, or start anew: stop, drop the slot, remove the data directory (--data) and what the target still has.',
  });
}

/** Nothing of the log was ever applied to it. */
export function isUntouched({
  progress,
  tables,
}: {
  readonly progress: Pick<Progress, 'logOffset'>;
  readonly tables: readonly TableProgress[];
}): boolean {
  return progress.logOffset === undefined && tables.every(({ logOffset }) => logOffset === 0);
}

/** In parallel mode each table has its own. One that nothing was applied to yet begins with the log. */
export function lowestOffset(raw: Topic, tables: readonly TableProgress[]): Offset {
  const start = raw.start(0);
  return tables.reduce((lowest, { logOffset }) => Math.min(lowest, logOffset === 0 ? start : logOffset), raw.end(0));
}

/** Below this every table has everything. */
export function lowestLsn(tables: readonly TableProgress[]): Lsn {
  let lowest: Lsn | undefined;
  for (const { lsn } of tables) lowest = lsn === undefined ? ZERO_LSN : lowest === undefined ? lsn : minLsn(lowest, lsn);
  return lowest ?? ZERO_LSN;
}

/** @throws PipelineError CF-2005 when the log comes from another system than the one that filled the target. */
export function checkSystem(known: string | undefined, source: EpochFrame): void {
  if (known === undefined || known === source.systemId) return;
  throw new PipelineError('CF-2005', `the target was filled from system ${known}, the log comes from system ${source.systemId}`);
}
