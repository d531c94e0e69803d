/**
 * What a mapping says of a row that it makes nothing of. Guarantee: whoever maps a row throws this for the row's own sake and nothing else
 * for it, so that the row alone is set aside, or its table alone held, and no other table waits.
 */
import { PipelineError, type ErrorCode } from '../errors.ts';

/** As it travels: with the row in the log, and into crossfade.blocked. */
export interface RowFault {
  readonly code: ErrorCode;
  readonly message: string;
}

export class UnmappableRow extends PipelineError {
  get fault(): RowFault {
    return { code: this.code, message: this.message };
  }
}
