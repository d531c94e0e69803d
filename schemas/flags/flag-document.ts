/**
 * All that is needed to evaluate a migration's flags anywhere: what HTTP serves, Redis holds and the client keeps. Guarantee: of two documents of one
 * migration it is always clear which is newer, so that no late or repeated one ever takes the place of a later one.
 */
import type { ReadRules, Side } from './read-rules.ts';

export interface FlagDocument {
  readonly name: string;
  /** Of the last flip or drill that began. */
  readonly epoch: number;
  /** Version of the state row, raised by each change of the state: a flip is decided within its epoch. */
  readonly state: number;
  /** The store that takes writes. */
  readonly serves: Side;
  /** Absent: no read flag was ever set. */
  readonly rules?: ReadRules;
}

/** Negative when `a` is older, 0 when both say the same. */
export function compareAge(a: FlagDocument, b: FlagDocument): number {
  return a.epoch - b.epoch || a.state - b.state || versionOf(a) - versionOf(b);
}

export function versionOf({ rules }: FlagDocument): number {
  return rules?.version ?? 0;
}

/** Short, and different for documents of different age. */
export function revisionOf(document: FlagDocument): string {
  return `${document.epoch}.${document.state}.${versionOf(document)}`;
}

/** Some context may get another value. */
export function saysOther(a: FlagDocument, b: FlagDocument): boolean {
  return a.serves !== b.serves || versionOf(a) !== versionOf(b);
}
