/**
 * The answer's envelope (design §12, fixed), for every command with --json and every HTTP error. Guarantee: all keys are always
 * there (null where there is nothing), so a reader needs no "if present".
 */
import { type ErrorCode, type Finding, messageOf, PipelineError } from './errors.ts';

export interface EnvelopeError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly path: string | null;
  readonly line: number | null;
  readonly column: number | null;
  readonly remedy: string;
}

export interface EnvelopeFinding extends EnvelopeError {
  readonly severity: Finding['severity'];
}

export interface Envelope {
  readonly command: string;
  readonly ok: boolean;
  readonly summary: string;
  readonly result: unknown;
  readonly error: EnvelopeError | null;
  readonly findings: readonly EnvelopeFinding[];
}

/** Any failure as one that stands in the catalogue; what is unknown becomes CF-7002 with the cause kept. */
export function toPipelineError(error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  return new PipelineError('CF-7002', messageOf(error), { cause: error });
}

export function envelopeError(error: PipelineError): EnvelopeError {
  const { path = null, line = null, column = null } = error.place;
  return { code: error.code, message: error.message, path, line, column, remedy: error.remedy };
}

export function envelopeFinding(finding: Finding): EnvelopeFinding {
  const { severity, code, message, path = null, line = null, column = null, remedy } = finding;
  return { severity, code, message, path, line, column, remedy };
}

export function findingOf(error: PipelineError): Finding {
  return { severity: 'error', code: error.code, message: error.message, remedy: error.remedy, ...error.place };
}

export function errorOf(finding: Finding): PipelineError {
  const { code, message, remedy, path, line, column } = finding;
  return new PipelineError(code, message, {
    remedy,
    ...(path !== undefined && { path }),
    ...(line !== undefined && { line }),
    ...(column !== undefined && { column }),
  });
}
