/**
 * What an application tells of one read or write (POST /v1/observations), and the sums of a minute. No value of a row is in it: `hashes` are of the
 * canonical form (canonical-value.ts) with a salt, and only for looking at two that differ.
 */
import type { ReadStage } from './read-rules.ts';

export interface SideObservation {
  readonly ms: number;
  /** Short: a SQLSTATE or an error's name, never its text. */
  readonly error?: string;
}

export interface Observation {
  readonly op: 'read' | 'write';
  readonly stage: ReadStage;
  readonly unit?: string;
  readonly table?: string;
  readonly source?: SideObservation;
  readonly target?: SideObservation;
  /** `settled`: different at first, and equal when both were read again. `incomparable`: one of them failed, or came too late. */
  readonly result?: 'equal' | 'different' | 'settled' | 'incomparable';
  /** Source, target. */
  readonly hashes?: readonly [source: string, target: string];
}

export interface SideSummary {
  readonly count: number;
  readonly errors: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

export interface UnitSummary {
  readonly unit: string;
  readonly observed: number;
  readonly errors: number;
  readonly different: number;
}

export interface ObservationMinute {
  readonly at: string;
  readonly observed: number;
  readonly compared: number;
  readonly equal: number;
  readonly different: number;
  readonly settled: number;
  readonly incomparable: number;
  /** Equal or settled, of those compared; null: none was. */
  readonly consistency: number | null;
  readonly source: SideSummary;
  readonly target: SideSummary;
  readonly units: readonly UnitSummary[];
}

export interface ObservationsReport {
  readonly minutes: readonly ObservationMinute[];
  /** The last ones. */
  readonly mismatches: readonly Observation[];
}
