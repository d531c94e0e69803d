/** What was signed is what is done. Guarantee: passes only where the plan of now has the very hash that was signed, or none was. */
import { PipelineError } from '../errors.ts';

export interface SignedPlan {
  readonly hash: string;
  /** Who says so: the command line, or the target's own record of what it runs under. */
  readonly by: 'option' | 'record';
}

/** @throws PipelineError CF-4006 */
export function requirePlan(now: string, signed: SignedPlan | undefined, name: string): void {
  if (signed === undefined || signed.hash === now) return;
  const where = signed.by === 'option' ? 'what was signed (--plan)' : `what ${name} runs under (crossfade.plan on the target)`;
  throw new PipelineError('CF-4006', `file and catalogues give plan ${now} now; ${where} is ${signed.hash}`, {
    details: { plan: { now, signed: signed.hash } },
  });
}
