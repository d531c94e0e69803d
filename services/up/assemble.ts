/** Which adapter serves which service, in one process. Guarantee: nothing is started here, and what is opened is closed with `stack`. */
import { join } from 'node:path';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { createCopier, type Copier } from '#services/reader/copy/copier.ts';
import { copierTablesOf } from './copier-tables.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { ForeignWrites, WhoseRows } from '#services/reader/left-out.ts';
import { Reader } from '#services/reader/reader.ts';
import { MirrorBoard } from '#services/reconciler/stream/mirror-board.ts';
import { otherSinks } from '#schemas/config/wave-file.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { ownerOf } from './own-rows.ts';
import { type TargetMonitor, targetMonitor } from './target-monitor.ts';
import type { ServingSide } from './reverse/serving-side.ts';
import type { TargetSide } from './target-side.ts';
import type { TargetSides } from './target-sides.ts';

export interface Running {
  readonly raw: Topic;
  readonly targets: TargetSides;
  readonly copier: Copier;
  readonly reader: Reader;
  /** Of the targets that are compared by themselves. */
  readonly monitors: ReadonlyMap<TargetSide, TargetMonitor>;
  /** Of the targets that the log is held against. */
  readonly boards: ReadonlyMap<TargetSide, MirrorBoard>;
  /** The side that is read serves: its rows may be copied over those of the other one. @throws PipelineError where nobody can tell */
  readonly mayCopy: () => Promise<boolean>;
  /** Resolves once the first stream from the source is open. */
  readonly streaming: Promise<void>;
}

export interface Assembly {
  readonly raw: Topic;
  readonly progress: Topic;
  readonly targets: TargetSides;
  /** Of each target: its foreign keys are checked while we write. */
  readonly ordered: readonly boolean[];
  readonly stack: AsyncDisposableStack;
  readonly serving: ServingSide;
  /** Absent: the forward direction. */
  readonly direction?: Direction;
}

/** How the reverse direction differs. */
export interface Direction {
  /** Migrations whose sinks write to the source of this direction. */
  readonly ignoreOrigins: readonly string[];
  readonly foreign: ForeignWrites;
  readonly whose: WhoseRows;
  /** Rows may be copied over those of the other side: this side serves. */
  readonly mayCopy: () => Promise<boolean>;
  /** Nothing is copied when it begins: the other side has it all. */
  readonly isFilled: true;
}

export async function assemble(
  options: RunUpOptions,
  { raw, progress, targets, ordered, stack, serving, direction }: Assembly,
): Promise<Running> {
  const { name, settings, source: url } = options.file;
  const source = createCopySource({ url: url.postgres, applicationName: `crossfade ${name} copy` });
  stack.defer(() => source.close());
  const monitors = new Map<TargetSide, TargetMonitor>();
  const mayCopy = direction?.mayCopy ?? (async () => !canFlip(options.file) || (await serving.ask()) === 'source');
  const known: Parameters<TargetMonitor['learn']>[] = [];
  const copier = await createCopier({
    name,
    source,
    tables: copierTablesOf(targets.all.map(({ migration }, i) => ({ migration, ordered: ordered[i] === true }))),
    progress,
    settings,
    ...(direction !== undefined && { isFilled: direction.isFilled }),
    // Parents before their children, for whoever needs it.
    order: ordered.includes(true) ? 'parents-first' : 'smallest-first',
    spoolDirectory: join(options.dataDir, 'spool'),
    mayCopy,
    ...((direction !== undefined || canFlip(options.file)) && { migration: serving.name }),
    logger: options.logger,
    onLeaves: (table, leaves) => {
      targets.learn(table, leaves);
      known.push([table, leaves]);
      for (const monitor of monitors.values()) monitor.learn(table, leaves);
    },
  });
  for (const target of targets.all) target.connect(copier);
  const streaming = Promise.withResolvers<void>();
  const reader = new Reader({
    name,
    url: url.postgres,
    raw,
    progress,
    tables: [...new Set(targets.all.flatMap(({ migration }) => migration.sourceTables))],
    settings,
    ignoreOrigins: direction?.ignoreOrigins ?? [reverseName(name), ...otherSinks(options.file)],
    ...whoseRows(options.file, targets, direction),
    ...(direction !== undefined && { foreign: direction.foreign }),
    copy: copier.hooks,
    appliedLsn: () => targets.highestLsn(),
    recopy: async ({ schema, name: table }, reason) => {
      if (!(await mayCopy())) return;
      await copier.requestRecopy({ kind: 'replace', schema, table, reason });
    },
    onStarted: streaming.resolve,
    logger: options.logger,
  });
  for (const side of targets.all) {
    const monitor = targetMonitor(options, side, { reader, raw, serving });
    if (monitor === undefined) continue;
    monitors.set(side, monitor);
    for (const leaves of known) monitor.learn(...leaves);
  }
  const boards = boardsOf(options.file, targets);
  return { raw, targets, copier, reader, monitors, boards, mayCopy, streaming: streaming.promise };
}

function boardsOf({ settings }: MigrationFile, { all }: TargetSides): ReadonlyMap<TargetSide, MirrorBoard> {
  const watched = settings.reconcile.stream === true ? all.filter(({ file }) => file.target.postgres !== undefined) : [];
  return new Map(watched.map((side) => [side, new MirrorBoard()]));
}

/** Of a wave; what is filtered otherwise may be others' business today and ours tomorrow. */
function whoseRows({ wave }: MigrationFile, { all }: TargetSides, direction: Direction | undefined): { readonly whose?: WhoseRows } {
  if (direction !== undefined) return { whose: direction.whose };
  const { migration } = all[0]!;
  return wave === undefined ? {} : { whose: ownerOf(migration.mapping, migration.sourceTables) };
}

/** There are journals that say who serves. */
export function canFlip({ targets, target }: MigrationFile): boolean {
  return targets === undefined && target.postgres !== undefined;
}
