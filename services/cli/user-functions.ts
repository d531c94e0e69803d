/**
 * Loads the functions that a migration file calls. Guarantee: each file once, whoever calls it; a path is meant from the migration file's
 * own folder; all that cannot be loaded is told at once, each at the step that calls it.
 */
import { dirname, isAbsolute, join } from 'node:path';
import { openFunctions } from '#connectors/user-functions/open-functions.ts';
import type { MigrationFile, PlacedStep } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import type { UserFunction } from '#schemas/mapping/steps/user-function.ts';

/** A step that calls, taken apart. */
interface Call {
  readonly module: string;
  readonly name: string;
  readonly step: PlacedStep;
}

/**
 * @param path Where the migration file is.
 * @throws PipelineError of the first that cannot be loaded, all of them in `details.findings`.
 */
export async function withFunctions(file: MigrationFile, path: string): Promise<MigrationFile> {
  // The way back has steps of its own.
  const sets = file.tables.flatMap(({ set = {}, reverse }) => [set, ...(reverse?.mode === 'set' ? [reverse.set] : [])]);
  const calls = sets.flatMap((set) => Object.values(set)).flatMap(({ steps }) => steps.flatMap(callOf));
  if (calls.length === 0) return file;
  const functions = new Map<string, UserFunction>();
  const findings: Finding[] = [];
  for (const [module, group] of Map.groupBy(calls, (call) => call.module)) {
    const absolute = isAbsolute(module) ? module : join(dirname(path), module);
    try {
      const loaded = await openFunctions(absolute, [...new Set(group.map(({ name }) => name))]);
      for (const [name, found] of loaded) functions.set(`${module}#${name}`, found);
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      for (const call of group) findings.push(...(await faultsOf(call, absolute, file.path)));
    }
  }
  const [first] = findings;
  if (first === undefined) return { ...file, functions };
  const { code, message, remedy, place } = errorOf(first);
  throw new PipelineError(code, message, { ...place, remedy, details: { findings } });
}

function callOf(step: PlacedStep): Call[] {
  const reference = step.step.call;
  if (reference === undefined) return [];
  const at = reference.lastIndexOf('#');
  return [{ module: reference.slice(0, at), name: reference.slice(at + 1), step }];
}

/** Why this one cannot be called; the path as it stands in the file. */
async function faultsOf({ module, name, step }: Call, absolute: string, path: string): Promise<Finding[]> {
  try {
    await openFunctions(absolute, [name]);
    return [];
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    const isAbsent = (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
    const message = isAbsent ? `${module} cannot be read: there is no such file` : error.message.replaceAll(absolute, module);
    const remedy = isAbsent ? 'Mend the path under call; it is meant from the folder of the migration file.' : error.remedy;
    return [{ severity: 'error', code: error.code, message, remedy, path, line: step.line, column: step.column }];
  }
}
