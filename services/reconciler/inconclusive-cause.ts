/** Why source and target could not be aligned, from the error that says so. Guarantee: a lack of the source's is not told as a copy that goes on. */
import type { PipelineError } from '#schemas/errors.ts';
import type { InconclusiveCause } from '#schemas/reconcile/verify-result.ts';

export function causeOf({ details }: PipelineError): InconclusiveCause {
  if (details['cause'] === 'unreadable') return 'unreadable';
  return details['applied'] === undefined ? 'copying' : 'lag';
}
