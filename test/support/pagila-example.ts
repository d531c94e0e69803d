/** The files of docs/examples/pagila. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The migration file as it stands in the docs. */
export const PAGILA_EXAMPLE_DIRECTORY: string = join(import.meta.dirname, '..', '..', 'docs', 'examples', 'pagila');

export const PAGILA_EXAMPLE_FILE: string = join(PAGILA_EXAMPLE_DIRECTORY, 'migration.yaml');

/** Run on each side before the first start. */
export const PAGILA_EXAMPLE_SQL = {
  source: readFileSync(join(PAGILA_EXAMPLE_DIRECTORY, 'source.sql'), 'utf8'),
  target: readFileSync(join(PAGILA_EXAMPLE_DIRECTORY, 'target.sql'), 'utf8'),
} as const;

export function pagilaExampleEnvironment(sourceUrl: string, targetUrl: string): Record<string, string> {
  return { PAGILA_URL: sourceUrl, STORE_URL: targetUrl };
}
