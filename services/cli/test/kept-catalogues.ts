/**
 * The file of catalogues beside the migration file. Guarantee: written whole or not at all; `check` tells when the servers have moved on,
 * so that tests never go on passing against tables that are no more.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { readMappingCatalogs } from '../catalogs.ts';
import { cataloguePath, changedTables, parseCatalogues, renderCatalogues, type Catalogues } from '#schemas/config/catalogue-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError, type Finding } from '#schemas/errors.ts';
import { listNames, warningFinding } from '#schemas/finding.ts';
import { compileMapping, type MappingResult } from '#schemas/mapping/compile-mapping.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { utf8Text } from '#schemas/utf8.ts';

/** @throws PipelineError CF-1010 */
export async function readKeptCatalogues({ path: typed, targetName }: MigrationFile, path: string): Promise<Catalogues> {
  const [place, shown] = [cataloguePath(path, targetName), cataloguePath(typed, targetName)];
  const text = await textAt(place);
  if (text !== undefined) return parseCatalogues(text, shown);
  throw new PipelineError('CF-1010', `${shown} is not there: it holds the tables' columns and types, so that tests need no server`, {
    remedy: `Write it once from the servers, and commit it: crossfade test --record 0 -f ${typed}`,
  });
}

/** Undefined where there is none. */
export async function textAt(path: string): Promise<string | undefined> {
  try {
    return utf8Text(await readFile(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new PipelineError('CF-1002', `${path} cannot be read: ${messageOf(error)}`, { path, cause: error });
  }
}

/** @throws PipelineError CF-2001, CF-5001 */
export async function keepCatalogues(file: MigrationFile, path: string): Promise<Catalogues> {
  const catalogues = await readMappingCatalogs(file);
  await replaceFile(cataloguePath(path, file.targetName), renderCatalogues(file, catalogues));
  return catalogues;
}

export async function replaceFile(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(beside, text);
    await rename(beside, path);
  } catch (error) {
    throw new PipelineError('CF-1002', `${path} cannot be written: ${messageOf(error)}`, {
      path,
      cause: error,
      remedy: 'Mend its folder.',
    });
  }
}

/** For `check`: the file beside it, where there is one, against what the servers say now. */
export async function checkKeptCatalogues(file: MigrationFile, path: string, now: Catalogues): Promise<Finding[]> {
  const place = cataloguePath(path, file.targetName);
  const text = await textAt(place);
  if (text === undefined) return [];
  const shown = cataloguePath(file.path, file.targetName);
  const current = renderCatalogues(file, now);
  if (text === current) return [];
  const remedy = `crossfade test --record 0 -f ${file.path}, then read what has changed, and commit it.`;
  try {
    const changed = changedTables(parseCatalogues(text, shown), parseCatalogues(current, shown));
    const what = changed.length === 0 ? 'types, or the server itself' : listNames(changed);
    return [{ ...warningFinding('CF-1010', `${shown} is out of date: ${what}`, remedy), path: shown }];
  } catch (error) {
    return [{ ...warningFinding('CF-1010', messageOf(error), remedy), path: shown }];
  }
}

export function compileWith(file: MigrationFile, { source, target }: Catalogues): MappingResult {
  return target === undefined ? compileRedisMapping(file, source) : compileMapping(file, source, target);
}
