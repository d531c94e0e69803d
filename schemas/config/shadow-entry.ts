/** What an entry of `shadow:` holds. Guarantee: queries are as the file writes them; nothing of them is known to be in a catalogue yet. */
import type { Tolerance } from './check-entry.ts';
import type { Place } from './yaml-source.ts';

export interface ShadowEntry extends Place {
  readonly name: string;
  /** Absent: the file has one target. */
  readonly target?: string;
  readonly sql: { readonly source: string; readonly target: string };
  /** One set of values for $1, $2 … at least; a query without parameters has one empty set. */
  readonly parameters: readonly (readonly (string | null)[])[];
  readonly ordered: boolean;
  /** Columns of the answer that may differ. */
  readonly ignore: readonly string[];
  /** Of numbers in the answer. */
  readonly tolerance: Tolerance;
  readonly timing: ShadowTiming;
  /** Where the value of each key stands. */
  readonly places: Readonly<Record<string, Place>>;
  /** Something in it came out of the environment: it must not be shown. */
  readonly fromEnvironment?: true;
}

/** How its response time is measured. */
export interface ShadowTiming {
  /** How much slower than the source the target may be. */
  readonly tolerancePercent: number;
  /** Executions on each side. */
  readonly repetitions: number;
  /** Sessions on each side that ask at the same time. */
  readonly concurrency: number;
  /** At most this long in all. */
  readonly seconds: number;
  /** At most this long for one answer. */
  readonly timeoutSeconds: number;
}
