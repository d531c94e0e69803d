/**
 * The migration file as a command gets it. Guarantee: read once, bounded, and either whole or refused with every fault's place; the
 * data directory is the same for every command that names the same file.
 */
import { open } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import type { Command } from 'commander';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { waveFile } from '#schemas/config/wave-file.ts';
import { FILE_BYTES_MAX } from '#schemas/config/yaml-source.ts';
import { errorOf } from '#schemas/envelope.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import { NotUtf8, utf8Text } from '#schemas/utf8.ts';
import type { CliIo, CommandContext } from './command.ts';
import { withLookups } from './lookups.ts';
import { withFunctions } from './user-functions.ts';

export const DEFAULT_FILE = 'migration.yaml';

export interface MigrationInput {
  readonly file: MigrationFile;
  /** Where it is; `file.path` is as it was typed. */
  readonly path: string;
  readonly dataDir: string;
}

export interface TargetsInput extends MigrationInput {
  /** Those to act on, as each sees the file: all of them, or the one that `--target` names. */
  readonly targets: readonly MigrationFile[];
}

export function targetOption(command: Command): void {
  command.option('--target <name>', 'of a file with several targets only this one');
}

/** As it is typed behind a command. */
export function waveOption({ wave }: Pick<MigrationFile, 'wave'>): string {
  return wave === undefined ? '' : ` --wave ${wave.name}`;
}

/** For commands that know several targets. @throws PipelineError CF-1002 to CF-1007 */
export async function loadTargets(
  { common, io, options }: Pick<CommandContext, 'common' | 'io' | 'options'>,
  { offline = false }: { readonly offline?: boolean } = {},
): Promise<TargetsInput> {
  const input = await loadWhole({ common, io }, { offline });
  const name = options.text('target');
  return { ...input, targets: name === undefined ? targetFiles(input.file) : [targetNamed(input.file, name)] };
}

/** The file as this target sees it, or as its only one does. @throws PipelineError CF-1007 */
export function targetNamed(file: MigrationFile, name: string | undefined): MigrationFile {
  const views = targetFiles(file);
  if (name === undefined) return oneOf(views);
  const found = views.find(({ targetName }) => targetName === name);
  if (found !== undefined) return found;
  const names = views.flatMap(({ targetName }) => targetName ?? []);
  throw new PipelineError('CF-1007', `the file has no target ${name}${didYouMean(name, names)}`, {
    remedy: names.length === 0 ? 'Leave --target out: its one target has no name.' : `It has: ${names.join(', ')}.`,
  });
}

/** For commands that act on one target. @throws PipelineError CF-1002 to CF-1007; CF-1007 where the file has several and none is named */
export async function loadTarget(context: Pick<CommandContext, 'common' | 'io' | 'options'>): Promise<MigrationInput> {
  const { targets, ...input } = await loadTargets(context);
  return { ...input, file: oneOf(targets) };
}

function oneOf(targets: readonly MigrationFile[]): MigrationFile {
  const [only, ...others] = targets;
  if (only !== undefined && others.length === 0) return only;
  const names = targets.flatMap(({ targetName }) => targetName ?? []);
  throw new PipelineError('CF-1007', `the file has several targets: ${names.join(', ')}`, { remedy: `Say which: --target ${names[0]}.` });
}

/**
 * For commands that know one target only.
 * @throws PipelineError CF-1002 to CF-1007; where there are several faults they are in `details.findings`.
 */
export async function loadMigration(
  context: Pick<CommandContext, 'common' | 'io'>,
  options: { readonly offline?: boolean } = {},
): Promise<MigrationInput> {
  const input = await loadWhole(context, options);
  return { ...input, file: oneOf(targetFiles(input.file)) };
}

/** With all its targets; of a file with waves, that of the one named. @throws PipelineError CF-1002 to CF-1006; where there are several faults they are in `details.findings`. */
export async function loadWhole(
  { common, io }: Pick<CommandContext, 'common' | 'io'>,
  { offline = false }: { readonly offline?: boolean } = {},
): Promise<MigrationInput> {
  const { path } = placeOf({ common, io });
  const file = waveFile(await loadWritten({ common, io }, { offline }), common.wave);
  return { file, path, dataDir: dataDirOf(file.name, { common, io }) };
}

/** As it is written, with all its targets and waves. @throws PipelineError as `loadWhole` */
export async function loadWritten(
  context: Pick<CommandContext, 'common' | 'io'>,
  { offline = false }: { readonly offline?: boolean } = {},
): Promise<MigrationFile> {
  return loadFile({ ...placeOf(context), env: context.io.environment, offline });
}

function placeOf({ common, io }: Pick<CommandContext, 'common' | 'io'>): Pick<FileAt, 'path' | 'typed'> {
  const typed = common.file ?? DEFAULT_FILE;
  return { path: isAbsolute(typed) ? typed : join(io.directory, typed), typed };
}

export interface FileAt {
  readonly path: string;
  /** As it stands in findings. */
  readonly typed: string;
  readonly env: CliIo['environment'];
  /** No server is going to be asked. */
  readonly offline: boolean;
}

/** @throws PipelineError CF-1002 to CF-1006; where there are several faults they are in `details.findings`. */
export async function loadFile({ path, typed, env, offline }: FileAt): Promise<MigrationFile> {
  const text = await readText(path, typed);
  const { file, findings } = readMigrationFile({ path: typed, text, env, offline });
  const errors = findings.filter((finding) => finding.severity === 'error');
  // A misspelt key is also a missing one: the typo is what is to be mended.
  const first = errors.find((finding) => finding.message.startsWith('unknown key')) ?? errors[0];
  if (file !== undefined && first === undefined) return withFolders(await withLookups(await withFunctions(file, path), path), path);
  if (first === undefined) throw new PipelineError('CF-1003', `${typed} holds nothing`, { path: typed });
  const single = errorOf(first);
  throw new PipelineError(single.code, single.message, { ...single.place, remedy: single.remedy, details: { findings } });
}

/** What the file names is meant from its own folder. */
function withFolders(file: MigrationFile, path: string): MigrationFile {
  const place = (given: string): string => (isAbsolute(given) ? given : join(dirname(path), given));
  const schemaMigrations = file.schemaMigrations?.map(({ folder, ...entry }) => ({
    ...entry,
    ...(folder !== undefined && { folder: place(folder) }),
  }));
  const { backup } = file;
  return {
    ...file,
    ...(schemaMigrations !== undefined && { schemaMigrations }),
    ...(backup?.file !== undefined && { backup: { ...backup, file: place(backup.file) } }),
  };
}

export function dataDirOf(name: string, { common, io }: Pick<CommandContext, 'common' | 'io'>): string {
  const { data, wave } = common;
  // Each wave has an instance of its own.
  const dir = data === undefined ? join('.crossfade', name) : wave === undefined ? data : join(data, wave);
  return isAbsolute(dir) ? dir : join(io.directory, dir);
}

/** As an operator would type it from where he stands. */
export function shownPath(path: string, directory: string): string {
  const short = relative(directory, path);
  return short === '' || short.startsWith('..') ? path : short;
}

/** @throws PipelineError CF-1002, CF-1006 */
export async function readText(path: string, typed: string): Promise<string> {
  try {
    await using handle = await open(path, 'r');
    const { size } = await handle.stat();
    if (size > FILE_BYTES_MAX) throw new PipelineError('CF-1006', `${typed} has ${size} bytes`, { path: typed });
    return utf8Text(await handle.readFile());
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    if (error instanceof NotUtf8) {
      const remedy = 'Save it in UTF-8: what it says would be read as something else.';
      throw new PipelineError('CF-1002', `${typed} cannot be read: it is not in UTF-8`, {
        path: typed,
        line: error.line,
        column: 1,
        remedy,
      });
    }
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : messageOf(error);
    const remedy =
      typed === DEFAULT_FILE
        ? 'Give it with -f FILE, or write one: crossfade init --source URL --target URL'
        : 'Check the path given with -f.';
    throw new PipelineError('CF-1002', `${typed} cannot be read: ${reason}`, { path: typed, cause: error, remedy });
  }
}
