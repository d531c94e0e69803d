/** Which kind of target a file has. Guarantee: what works with PostgreSQL only says so, before it does anything. */
import { PipelineError } from '../errors.ts';
import type { MigrationFile } from './migration-file.ts';

/** @throws PipelineError CF-5010 where the target is of another kind. */
export function postgresTarget({ target }: Pick<MigrationFile, 'target'>, what: string): string {
  if (target.postgres !== undefined) return target.postgres;
  throw new PipelineError('CF-5010', `${what} does not work with a Redis target in this version`);
}
