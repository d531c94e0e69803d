/** Reads the files that `lookup` steps name. Guarantee: each file once; a path is meant from the migration file's own folder. */
import { open } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { LookupFault, parseLookup } from '#schemas/config/lookup-file.ts';
import type { MigrationFile, PlacedStep, TableEntry } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { NotUtf8, utf8Text } from '#schemas/utf8.ts';

/** It is held in memory, once for each table. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** @param path Where the migration file is. @throws PipelineError CF-1002, CF-1004, CF-1006 */
export async function withLookups(file: MigrationFile, path: string): Promise<MigrationFile> {
  const texts = new Map<string, Promise<string>>();
  const textOf = (name: string): Promise<string> => {
    const at = isAbsolute(name) ? name : join(dirname(path), name);
    const text = texts.get(at) ?? readText(at, name);
    texts.set(at, text);
    return text;
  };
  const load = async (placed: PlacedStep): Promise<PlacedStep> => {
    const { lookup } = placed.step;
    if (lookup === undefined) return placed;
    try {
      return { ...placed, step: { lookup: { ...lookup, loaded: parseLookup(await textOf(lookup.file), lookup.file, lookup) } } };
    } catch (error) {
      if (!(error instanceof LookupFault)) throw error;
      const { line, column } = placed;
      throw new PipelineError('CF-1004', `${lookup.file}: ${error.message}`, {
        path: file.path,
        line,
        column,
        remedy: 'Mend that file, or what key: and value: name.',
      });
    }
  };
  const loadSet = async (set: NonNullable<TableEntry['set']>): Promise<NonNullable<TableEntry['set']>> => {
    const loaded = Object.entries(set).map(
      async ([name, one]) => [name, { ...one, steps: await Promise.all(one.steps.map(load)) }] as const,
    );
    return Object.fromEntries(await Promise.all(loaded));
  };
  // The way back has steps of its own.
  const loadAll = async ({ set, reverse, ...entry }: TableEntry): Promise<TableEntry> => ({
    ...entry,
    ...(set !== undefined && { set: await loadSet(set) }),
    ...(reverse !== undefined && { reverse: reverse.mode === 'set' ? { ...reverse, set: await loadSet(reverse.set) } : reverse }),
  });
  return { ...file, tables: await Promise.all(file.tables.map(loadAll)) };
}

async function readText(at: string, name: string): Promise<string> {
  try {
    await using handle = await open(at, 'r');
    const { size } = await handle.stat();
    if (size > FILE_BYTES_MAX)
      throw new PipelineError('CF-1006', `${name} has ${size} bytes`, {
        path: at,
        remedy: 'Keep it under 16 MiB: a larger one is a table to join.',
      });
    return utf8Text(await handle.readFile());
  } catch (error) {
    if (error instanceof NotUtf8) throw new LookupFault('it is not in UTF-8');
    if (error instanceof PipelineError) throw error;
    throw new PipelineError('CF-1002', `${name} cannot be read: ${messageOf(error)}`, {
      path: at,
      cause: error,
      remedy: 'Check the path under lookup.',
    });
  }
}
