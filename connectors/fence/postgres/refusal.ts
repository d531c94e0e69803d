/** What PostgreSQL says against a fence, in the catalogue's words. */
import type { Side } from '#connectors/fence/fence.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';

/** A lock that was not had: lock_timeout, statement_timeout, a deadlock with us as the victim. */
export const NOT_LOCKED: ReadonlySet<string> = new Set(['55P03', '57014', '40P01']);

export function sqlState(error: unknown): string {
  return (error as { code?: string }).code ?? '';
}

/** `act`: what was not done, as the rest of "the fence could not be …". */
export function explained(error: unknown, side: Side, act: string): unknown {
  if (error instanceof PipelineError) return error;
  const message = `the fence on the ${side} could not be ${act}: ${messageOf(error)}`;
  const code = sqlState(error);
  if (code === '42501')
    return new PipelineError('CF-8102', message, { cause: error, remedy: 'GRANT the owner of the table named TO our role.' });
  return new PipelineError(NOT_LOCKED.has(code) ? 'CF-8101' : 'CF-8104', message, { cause: error });
}
