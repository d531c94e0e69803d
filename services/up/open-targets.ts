/** The file's targets beside a log. Guarantee: each begins with all that the log has ever held, or waits for a re-copy of what it has missed. */
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { type KeptTarget, readKeptTarget } from '#services/runtime/kept-target.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { joiningPosition, readLogKnowledge, recordTargets } from './log-knowledge.ts';
import { readMigrations } from './read-migration.ts';
import { createTargetSide } from './target-side.ts';
import { TargetSides } from './target-sides.ts';

export interface LogTopics {
  readonly raw: Topic;
  readonly progress: Topic;
  readonly deadLetters: Topic;
}

export interface OpenTargets extends TargetSides {
  /** To be called once all are ready, and before the reader starts: the log knows them, and they know under which plan they run. */
  recorded(signal: AbortSignal): Promise<void>;
}

export async function openTargets(options: RunUpOptions, log: LogTopics): Promise<OpenTargets> {
  const { raw, progress } = log;
  const known = await readLogKnowledge(progress);
  // One that the log does not know has to be there at its first start.
  const keptOf = ({ targetName: name }: MigrationFile): KeptTarget | undefined =>
    name === undefined || !known.targets.includes(name) ? undefined : readKeptTarget(options.dataDir, name);
  const targets = await readMigrations(options.file, keptOf);
  // A table that one target lacks for a while may go on being published for another.
  const published = new Set(targets.flatMap(({ migration }) => migration.sourceTables.map(tableId)));
  const joining = await joiningPosition(raw, progress);
  const sides = targets.map(async (target) => {
    const name = target.file.targetName;
    // A target without a name is the only one there ever was.
    const joinAt = name === undefined || known.targets.includes(name) ? undefined : joining;
    const missed = name === undefined ? { copied: new Set<string>() } : { copied: known.copied, published };
    return createTargetSide(options, target, { ...log, ...missed, joinAt, kept: keptOf(target.file) });
  });
  const all = new TargetSides(await Promise.all(sides));
  const names = all.all.flatMap(({ name }) => name ?? []);
  const recorded = async (signal: AbortSignal): Promise<void> => {
    for (const side of all.all) await side.record(signal);
    await recordTargets(progress, known, names);
  };
  return Object.assign(all, { recorded });
}
