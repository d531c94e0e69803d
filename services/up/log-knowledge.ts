/**
 * What the log knows of targets and copies. Guarantee: a target counts as known only once it was taken over beside this log, and a table as
 * copied as soon as any chunk of it may stand there.
 */
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { Position } from '#connectors/target/target.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { decodeCopyRecord } from '#services/reader/copy/control-record.ts';
import { appendControl } from '#services/reader/follow.ts';
import { recoverLog } from '#services/reader/recover.ts';
import { readAll } from '#services/runtime/records.ts';

/** The targets by name, from here on. One that left the file and comes back is a new one to the log. */
interface TargetsRecord {
  readonly t: 'targets';
  readonly names: readonly string[];
}

export interface LogKnowledge {
  readonly targets: readonly string[];
  /** By `tableId`: source tables of which a later target, or a later entry, has missed chunks. */
  readonly copied: ReadonlySet<string>;
}

export async function readLogKnowledge(progress: Topic): Promise<LogKnowledge> {
  let targets: readonly string[] = [];
  const copied = new Set<string>();
  await readAll(progress, progress.start(0), (payload) => {
    const record = decodeCopyRecord(payload);
    if (record?.t === 'chunk-planned') copied.add(tableId({ schema: record.schema, name: record.table }));
    if (record !== undefined) return;
    const other = JSON.parse(payload.toString('utf8')) as TargetsRecord | { readonly t: string };
    if (other.t === 'targets') targets = (other as TargetsRecord).names;
  });
  return { targets, copied };
}

/** To be written before the reader starts, once every one of them was taken over. */
export async function recordTargets(progress: Topic, known: LogKnowledge, names: readonly string[]): Promise<void> {
  if (names.join() === known.targets.join()) return;
  await appendControl(progress, { t: 'targets', names } satisfies TargetsRecord);
}

/**
 * Where a target begins that the log does not know: behind all that it holds now. The re-copies that are asked for next bring every row,
 * and what changes after this comes as a change. Undefined: nothing was logged yet.
 */
export async function joiningPosition(raw: Topic, progress: Topic): Promise<Position | undefined> {
  if (raw.end(0) === 0 || !guarded('join')) return undefined;
  const { durableEnd } = await recoverLog(raw, progress);
  return { offset: raw.end(0), lsn: durableEnd, commitTimeMs: Date.now() };
}
