/**
 * `reconcile.stream`: mirrors of the log, held against source and target all the time. Guarantee: a table that begins to differ is told once,
 * with the equality that is broken and the first keys, and again when it is over; nothing of it ends the instance or holds the pipeline up; it is
 * silent while the target serves.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { summedColumns } from '#schemas/reconcile/checks/summed-columns.ts';
import { messageOf } from '#schemas/errors.ts';
import { MirrorBoard, type Turn } from '#services/reconciler/stream/mirror-board.ts';
import type { MirrorVerdict } from '#services/reconciler/stream/mirror-verdict.ts';
import { StreamMirror } from '#services/reconciler/stream/stream-mirror.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { ServingSide } from './reverse/serving-side.ts';
import type { TargetSide } from './target-side.ts';

export interface WatchedLog {
  readonly raw: Topic;
  readonly progress: Topic;
  readonly targets: readonly TargetSide[];
  readonly boards: ReadonlyMap<TargetSide, MirrorBoard>;
  readonly serving: ServingSide;
  readonly logger: Logger;
}

const PAUSE_MS = 5_000;
const RETRY_MS = 30_000;
/** Comparing takes at most this part of the time. */
const LOAD_PART = 0.1;
const KEYS_TOLD = 5;

export async function watchMirrors(log: WatchedLog, signal: AbortSignal): Promise<void> {
  await Promise.all(log.targets.map(async (target) => watchTarget(log, target, signal)));
}

/** Resolves with the signal. */
async function watchTarget(log: WatchedLog, target: TargetSide, signal: AbortSignal): Promise<void> {
  const { file, migration, declared } = target;
  const { postgres: targetUrl } = file.target;
  if (targetUrl === undefined) return;
  const { raw, progress, boards, serving, logger } = log;
  const board = boards.get(target) ?? new MirrorBoard();
  const summed = (table: TableMapping): readonly number[] => summedColumns(declared.planned, table);
  const options = { name: file.name, sourceUrl: file.source.postgres, targetUrl, raw, progress, logger };
  while (!signal.aborted) {
    const ended = new AbortController();
    try {
      board.clear();
      // What comes back from a target that serves is not in this log: a mirror of before would differ from both sides for ever.
      await serving.untilForward(signal);
      const forward = serving.forwardOnly(AbortSignal.any([signal, ended.signal]));
      const mirror = await StreamMirror.open({ ...options, mapping: migration.mapping, types: migration.types, summed });
      await Promise.all([mirror.run(forward), compareAlways({ mirror, board, logger }, forward)]);
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'the log cannot be held against source and target; it is tried again');
      await pause(RETRY_MS, signal);
    } finally {
      ended.abort();
    }
  }
}

interface Watching {
  readonly mirror: StreamMirror;
  readonly board: MirrorBoard;
  readonly logger: Logger;
}

async function compareAlways({ mirror, board, logger }: Watching, signal: AbortSignal): Promise<void> {
  for (let pauseMs = PAUSE_MS; !signal.aborted;) {
    await pause(pauseMs, signal);
    if (signal.aborted) return;
    const startedAt = performance.now();
    for (const verdict of [...(await mirror.compareTarget()), ...(await mirror.compareSource())])
      tell(verdict, board.note(verdict, Date.now()), logger);
    pauseMs = Math.max(PAUSE_MS, (performance.now() - startedAt) / LOAD_PART);
  }
}

const WORDS = {
  'source-log': { differ: 'the log is not what the source did', equal: 'the log is what the source did again' },
  'log-target': { differ: 'the target is not what the log makes', equal: 'the target is what the log makes again' },
} as const;

function tell({ from, to, equality, differences, sample, sums }: MirrorVerdict, turn: Turn, logger: Logger): void {
  if (turn === 'equal again') logger.info({ from, to }, WORDS[equality].equal);
  if (turn !== 'begins to differ') return;
  const keys = sample.slice(0, KEYS_TOLD).map(({ kind, key }) => ({ kind, key }));
  logger.warn({ from, to, differences, keys, ...(sums.length > 0 && { sums }) }, WORDS[equality].differ);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
