/**
 * One hash for a migration with several targets. Guarantee: different as soon as any target's plan is, or a target is another one; the same in
 * whatever order the file names them.
 */
import { createHash } from 'node:crypto';

export interface TargetPlan {
  readonly name: string;
  /** `planHash` of the file as this target sees it. */
  readonly hash: string;
}

export function wholeHash(plans: readonly TargetPlan[]): string {
  const lines = plans.map(({ name, hash }) => `${name}:${hash}`).toSorted();
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}
