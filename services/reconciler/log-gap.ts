/**
 * Changes that only the raw log still has: made durable there, told to the slot, not yet applied. Guarantee: every whole transaction
 * with commit LSN in [from, to) is fed to the collector in commit order; a transaction cut off by an epoch frame is left out, as the
 * sink leaves it out. Read-only, and only while no instance holds the directory.
 */
import { decodeBegin, TAG } from '#schemas/pgoutput/message.ts';
import { decodeChunkRows, decodeJsonFrame, FRAME, type ChunkDeletes, type TableStateFrame } from '#schemas/frame/frame.ts';
import { messageOf } from '#schemas/errors.ts';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { readAll } from '#services/runtime/records.ts';
import { relationsBelow } from './log-relations.ts';
import { voidTable, type ChangeCollector, type CollectedTable } from './change-collector.ts';

export interface RawLog {
  readonly raw: Topic;
  readonly progress: Topic;
  close(): Promise<void>;
}

/** Rejects when a running instance holds the data directory. */
export type OpenRawLog = () => Promise<RawLog>;

/** How far a log reaches that other processes write and apply. */
export interface LogReach {
  /** LSN of the last commit that it has: shown by a target that shows a higher one. */
  readonly commit: Lsn;
  /** Of this much of the stream it has every commit. */
  readonly confirmed: Lsn;
}

/** Rejects when the log cannot be asked. */
export type AskLogReach = () => Promise<LogReach | undefined>;

const SERVICES = 'see that crossfade transformer and crossfade sink run, then verify again';

/** Whether the target shows all that the log has below `to`. @returns why that is not so, or not known; undefined when it is. */
export async function missingFromTarget(
  ask: AskLogReach,
  { applied, to }: { readonly applied: Lsn; readonly to: Lsn },
): Promise<string | undefined> {
  let reach: LogReach | undefined;
  try {
    reach = await ask();
  } catch (error) {
    return `the target is behind the replication slot and the change log cannot be asked (${messageOf(error)}): verify again when Kafka answers`;
  }
  if (reach === undefined || reach.confirmed < to) return `how far the target is behind the change log is not known yet: ${SERVICES}`;
  if (applied > reach.commit) return undefined;
  return `the target is behind the change log, which holds commits up to ${formatLsn(reach.commit)}: ${SERVICES}`;
}

export interface LogGap {
  readonly from: Lsn;
  readonly to: Lsn;
  /** Raw offset at or below the first commit at or above `from`. */
  readonly offset: Offset | undefined;
  readonly collector: ChangeCollector;
  readonly tables: readonly CollectedTable[];
}

const START = 'start crossfade up, then verify again';

/** @returns why it could not be read; undefined when done. */
export async function readLogGap(open: OpenRawLog | undefined, gap: LogGap): Promise<string | undefined> {
  if (!open) return `the target is behind the replication slot and the change log is not at hand: ${START}`;
  let log: RawLog;
  try {
    log = await open();
  } catch (error) {
    return `the target is behind the replication slot and the change log cannot be opened (${messageOf(error)}): ${START}`;
  }
  try {
    const offset = gap.offset ?? log.raw.start(0);
    if (offset < log.raw.start(0)) return 'the change log no longer holds what the target has not applied';
    for (const frame of await relationsBelow(log.progress, offset)) gap.collector.feed(frame);
    await feedTransactions(log.raw, offset, gap);
    return undefined;
  } finally {
    await log.close();
  }
}

async function feedTransactions(raw: Topic, offset: Offset, gap: LogGap): Promise<void> {
  /** Frames of the transaction being read, kept until its commit shows that it is whole. */
  let open: Buffer[] = [];
  let within = false;
  await readAll(raw, offset, (frame) => {
    const tag = frame[0];
    if (tag === FRAME.epoch) {
      open = [];
      within = false;
    } else if (tag === TAG.begin) {
      const { commitLsn } = decodeBegin(frame);
      within = commitLsn >= gap.from && commitLsn < gap.to;
      open = within ? [frame] : [];
    } else if (tag === FRAME.tableState) voidCopied(gap.tables, decodeJsonFrame<TableStateFrame>(frame));
    else if (tag === TAG.relation || within) open.push(frame);
    if (tag !== TAG.commit) return;
    for (const one of open) feedOne(one, gap);
    open = [];
    within = false;
  });
}

function feedOne(frame: Buffer, { collector, tables }: LogGap): void {
  if (frame[0] === FRAME.chunkRows) voidCopied(tables, decodeChunkRows(frame).header);
  else if (frame[0] === FRAME.chunkDeletes) voidCopied(tables, decodeJsonFrame<ChunkDeletes>(frame));
  else collector.feed(frame);
}

/** Copied rows that wait in the log are not covered by the applied LSN. */
function voidCopied(tables: readonly CollectedTable[], named: { readonly schema: string; readonly table: string }): void {
  for (const table of tables.filter(({ from }) => from.schema === named.schema && from.name === named.table))
    voidTable(table, { cause: 'copying', message: `rows copied again are not applied yet: ${START}` });
}
