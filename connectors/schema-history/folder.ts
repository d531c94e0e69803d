/** The files of a folder of schema migrations. Guarantee: paths below it with slashes, in one order; nothing is opened. */
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { messageOf, PipelineError } from '#schemas/errors.ts';

/** @throws PipelineError CF-1002 */
export async function migrationFiles(folder: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
    return files.map((path) => path.replaceAll(sep, '/')).toSorted();
  } catch (error) {
    throw new PipelineError('CF-1002', `the folder ${folder} cannot be read: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Mend the folder under schemaMigrations.',
    });
  }
}
