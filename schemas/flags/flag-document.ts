/**
 * All that is needed to evaluate a migration's flags anywhere: what HTTP serves, Redis holds and the client keeps. Guarantee: of two documents of one
 * migration it is always clear which is newer, so that no late or repeated one ever takes the place of a later one.
 */
import type { ReadRules, Side } from './read-rules.ts';

export interface FlagDocument {
  readonly name: string;
  /** Raised by each flip of writes. */
  readonly epoch: number;
  /** The store that takes writes. */
  readonly serves: Side;
  /** Absent: no read flag was ever set. */
  readonly rules?: ReadRules;
}

/** Negative when `a` is older, 0 when both say the same. */
export function compareAge(a: FlagDocument, b: FlagDocument): number {
  return a.epoch - b.epoch || versionOf(a) - versionOf(b);
}

export function versionOf({ rules }: FlagDocument): number {
  return rules?.version ?? 0;
}

/** Short, and different for documents of different age. */
export function revisionOf(document: FlagDocument): string {
  return `${document.epoch}.${versionOf(document)}`;
}
