/**
 * All that is needed to evaluate a migration's flags anywhere: what HTTP serves, Redis holds and the client keeps. Guarantee: of two documents of one
 * migration it is always clear which is newer, so that no late or repeated one ever takes the place of a later one.
 */
import type { ReadRules, Side } from './read-rules.ts';

/** What moves by itself: some units, or the tables that belong to none. */
export interface WaveFlags {
  readonly name: string;
  /** `*`: those that no other wave names; null: what has none. */
  readonly units: readonly (string | null)[] | '*';
  /** `schema.table` of the source, globs; absent: all. */
  readonly tables?: readonly string[];
  readonly serves: Side;
  readonly rules?: ReadRules;
}

export interface FlagDocument {
  readonly name: string;
  /** Of the last flip or drill that began; of all waves together. */
  readonly epoch: number;
  /** Version of the state row, raised by each change of the state: a flip is decided within its epoch. */
  readonly state: number;
  /** The store that takes writes; with waves, those of units that are in none. */
  readonly serves: Side;
  /** Absent: no read flag was ever set. */
  readonly rules?: ReadRules;
  /** Absent: everything moves at once. */
  readonly waves?: readonly WaveFlags[];
}

/** Negative when `a` is older, 0 when both say the same. */
export function compareAge(a: FlagDocument, b: FlagDocument): number {
  return a.epoch - b.epoch || a.state - b.state || versionOf(a) - versionOf(b);
}

/** Of waves their sum: it goes up with each of them. */
export function versionOf({ rules, waves = [] }: Pick<FlagDocument, 'rules' | 'waves'>): number {
  return [rules, ...waves.map((wave) => wave.rules)].reduce((sum, each) => sum + (each?.version ?? 0), 0);
}

/** Short, and different for documents of different age. */
export function revisionOf(document: FlagDocument): string {
  return `${document.epoch}.${document.state}.${versionOf(document)}`;
}

/** Some context may get another value. */
export function saysOther(a: FlagDocument, b: FlagDocument): boolean {
  return sidesOf(a) !== sidesOf(b) || versionOf(a) !== versionOf(b);
}

function sidesOf({ serves, waves = [] }: FlagDocument): string {
  return [serves, ...waves.map((wave) => `${wave.name} ${wave.serves}`)].join();
}

/** As one wave has it. */
export function documentOf({ waves: _waves, rules: _rules, ...document }: FlagDocument, { serves, rules }: WaveFlags): FlagDocument {
  return { ...document, serves, ...(rules !== undefined && { rules }) };
}
