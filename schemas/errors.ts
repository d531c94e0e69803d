/**
 * Errors. Guarantee: every failure an operator can meet is a `PipelineError` whose code stands in the catalogue
 * (error-catalogue.ts), which says what it means, whether it is retried, and what to do next.
 */
import { catalogue, type ErrorCode } from './error-catalogue.ts';

export type { ErrorCode } from './error-catalogue.ts';

/** Where in the operator's material the error lies. */
export interface ErrorPlace {
  readonly path?: string;
  readonly line?: number;
  readonly column?: number;
}

export interface ErrorOptions extends ErrorPlace {
  readonly cause?: unknown;
  /** What to do next; the catalogue's sentence when absent. May hold SQL. */
  readonly remedy?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export class PipelineError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly place: ErrorPlace;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PipelineError';
    this.code = code;
    this.remedy = options.remedy ?? catalogue[code].remedy;
    this.place = {
      ...(options.path !== undefined && { path: options.path }),
      ...(options.line !== undefined && { line: options.line }),
      ...(options.column !== undefined && { column: options.column }),
    };
    this.details = options.details ?? {};
  }

  get exitCode(): number {
    return catalogue[this.code].exit;
  }

  get retry(): 'timed' | 'operator' | 'never' {
    return catalogue[this.code].retry;
  }
}

/** A bug in our own code: never caught below the service loop. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(`invariant broken: ${message}`);
}

/** One thing an operator should know; `error` findings stop the command, `warning` and `info` do not. */
export interface Finding extends ErrorPlace {
  readonly severity: 'error' | 'warning' | 'info';
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
