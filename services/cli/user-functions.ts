/** Loads the functions that a migration file calls. Guarantee: each file once, whoever calls it; a path is meant from the file's own folder. */
import { dirname, isAbsolute, join } from 'node:path';
import { openFunctions } from '#connectors/user-functions/open-functions.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { UserFunction } from '#schemas/mapping/steps/user-function.ts';

/** @param path Where the migration file is. */
export async function withFunctions(file: MigrationFile, path: string): Promise<MigrationFile> {
  const entries = file.tables.flatMap(({ set = {} }) => Object.values(set));
  const references = new Set(entries.flatMap(({ steps }) => steps.flatMap(({ step }) => step.call ?? [])));
  if (references.size === 0) return file;
  const functions = new Map<string, UserFunction>();
  for (const [module, group] of Map.groupBy(references, (reference) => reference.slice(0, reference.lastIndexOf('#')))) {
    const names = group.map((reference) => reference.slice(reference.lastIndexOf('#') + 1));
    const loaded = await openFunctions(isAbsolute(module) ? module : join(dirname(path), module), names);
    group.forEach((reference, i) => functions.set(reference, loaded.get(names[i]!)!));
  }
  return { ...file, functions };
}
