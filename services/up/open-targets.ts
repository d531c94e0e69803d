/** The file's targets beside a log. Guarantee: each begins with all that the log has ever held, or waits for a re-copy of what it has missed. */
import type { Topic } from '#connectors/change-log/change-log.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
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
  /** To be called once all are taken over, and before the reader starts: the log knows them, and they know under which plan they run. */
  recorded(): Promise<void>;
}

export async function openTargets(options: RunUpOptions, log: LogTopics): Promise<OpenTargets> {
  const { raw, progress } = log;
  const targets = await readMigrations(options.file);
  const known = await readLogKnowledge(progress);
  // A table that one target lacks for a while may go on being published for another.
  const published = new Set(targets.flatMap(({ migration }) => migration.sourceTables.map(tableId)));
  const joining = await joiningPosition(raw, progress);
  const sides = targets.map(async (target) => {
    const name = target.file.targetName;
    // A target without a name is the only one there ever was.
    const joinAt = name === undefined || known.targets.includes(name) ? undefined : joining;
    const missed = name === undefined ? { copied: new Set<string>() } : { copied: known.copied, published };
    return createTargetSide(options, target, { ...log, ...missed, joinAt });
  });
  const all = new TargetSides(await Promise.all(sides));
  const names = all.all.flatMap(({ name }) => name ?? []);
  const recorded = async (): Promise<void> => {
    for (const side of all.all) await side.record();
    await recordTargets(progress, known, names);
  };
  return Object.assign(all, { recorded });
}
