/** A rollback trigger of the file, what it is fed with, and what it says. */

/** errors: a share of requests. slow: a time, against its baseline. drift: rows that differ. failure: something does not answer. */
export const TRIGGER_KINDS = ['errors', 'slow', 'drift', 'failure'] as const;
export type TriggerKind = (typeof TRIGGER_KINDS)[number];

/** Where a value comes from. `reports`: what applications report through Crossfade's client. */
export type TriggerFeed =
  | { readonly kind: 'reports' }
  | { readonly kind: 'crossfade' }
  | { readonly kind: 'promql'; readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly query: string }
  /** `value`: keys that lead to a number in the JSON that it answers, with dots between them. */
  | { readonly kind: 'http'; readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly value?: string };

export interface Trigger {
  readonly name: string;
  readonly kind: TriggerKind;
  /** errors: a share. slow: a factor of the baseline. drift, failure: a count that must be exceeded. */
  readonly above: number;
  readonly windowMs: number;
  /** Less than this within the window says nothing: requests of reports, samples of all else. */
  readonly atLeast: number;
  readonly feed: TriggerFeed;
  readonly action: 'ask' | 'rollback';
}

/** One look: the mean of what it tells is sum / count. A look that failed is none, and leaves a gap. */
export interface Sample {
  readonly atMs: number;
  readonly sum: number;
  readonly count: number;
}

/** unknown: too little is known to say anything, which is not `quiet`. */
export type TriggerState = 'quiet' | 'fired' | 'unknown';

export interface TriggerVerdict {
  readonly name: string;
  readonly state: TriggerState;
  /** Over the window; null: not known. */
  readonly value: number | null;
  /** That it must exceed; null: not known, for want of a baseline. */
  readonly limit: number | null;
  /** In words, with figures. */
  readonly evidence: string;
}
