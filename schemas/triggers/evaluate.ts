/**
 * What a trigger says of its samples. Guarantee: pure; it fires only on what was measured within its window, after the flip, and above its limit; what is
 * missing (a feed that is silent, too few requests, no baseline) is unknown, and never quiet.
 */
import { duration } from '../document/blocks.ts';
import type { Sample, Trigger, TriggerVerdict } from './trigger.ts';

export interface Judged {
  /** In any order; of before the flip too, for the baseline. */
  readonly samples: readonly Sample[];
  /** When the target began to serve. */
  readonly flippedAtMs: number;
  readonly nowMs: number;
  /** As it was recorded when the trigger was armed; absent: taken from samples before the flip. */
  readonly baseline?: number | undefined;
}

/** Of the time before the flip that the baseline is taken from. */
export const BASELINE_MS = 3_600_000;
/** A feed that was silent for longer than this part of the window is not believed. */
const SILENCE_SHARE = 0.5;

export function judge(trigger: Trigger, { samples, flippedAtMs, nowMs, baseline }: Judged): TriggerVerdict {
  const { name, windowMs } = trigger;
  const fromMs = Math.max(nowMs - windowMs, flippedAtMs);
  const inWindow = samples.filter((one) => isKnown(one) && one.atMs > fromMs && one.atMs <= nowMs);
  const { value, count } = meanOf(inWindow);
  const base = trigger.kind === 'slow' ? (baseline ?? baselineOf(trigger, samples, flippedAtMs)) : undefined;
  const limit = trigger.kind === 'slow' ? (base === undefined ? null : base * trigger.above) : trigger.above;
  const unknown = (why: string): TriggerVerdict => ({ name, state: 'unknown', value, limit, evidence: why });
  const newestMs = inWindow.reduce((newest, { atMs }) => Math.max(newest, atMs), Number.NEGATIVE_INFINITY);
  if (value === null) return unknown(`nothing was measured in the last ${duration(nowMs - fromMs)}`);
  if (count < trigger.atLeast)
    return unknown(`only ${count} of at least ${trigger.atLeast} ${unitOf(trigger)} in the last ${duration(windowMs)}`);
  if (limit === null) return unknown(`${shown(trigger, value)}, and no baseline of before the flip`);
  const evidence = `${shown(trigger, value)} over ${duration(windowMs)}, limit ${shown(trigger, limit)}${base === undefined ? '' : ` (${trigger.above} × ${shown(trigger, base)})`}`;
  if (value > limit) return { name, state: 'fired', value, limit, evidence };
  if (nowMs - newestMs > windowMs * SILENCE_SHARE) return unknown(`silent for ${duration(nowMs - newestMs)}; before that ${evidence}`);
  return { name, state: 'quiet', value, limit, evidence };
}

/** Undefined: too little was measured before the flip. */
export function baselineOf({ atLeast }: Pick<Trigger, 'atLeast'>, samples: readonly Sample[], flippedAtMs: number): number | undefined {
  const before = samples.filter((one) => isKnown(one) && one.atMs <= flippedAtMs && one.atMs > flippedAtMs - BASELINE_MS);
  const { value, count } = meanOf(before);
  // Twice nothing is nothing: a baseline of zero would fire on any time at all.
  return value === null || value <= 0 || count < atLeast ? undefined : value;
}

/** One of no requests, or of something that is no number, is no sign of life either. */
function isKnown({ sum, count }: Sample): boolean {
  return Number.isFinite(sum) && Number.isFinite(count) && count > 0;
}

function meanOf(samples: readonly Sample[]): { readonly value: number | null; readonly count: number } {
  const count = samples.reduce((total, one) => total + one.count, 0);
  return { value: count === 0 ? null : samples.reduce((total, one) => total + one.sum, 0) / count, count };
}

function unitOf({ feed }: Trigger): string {
  return feed.kind === 'reports' ? 'requests' : 'samples';
}

function shown({ kind, feed }: Trigger, value: number): string {
  if (kind === 'errors') return `${(value * 100).toFixed(2)} % errors`;
  // What a query measures in is its own business.
  if (kind === 'slow') return feed.kind === 'reports' ? duration(value) : value.toPrecision(3);
  // Seven in ten looks saw one: no row is there in part.
  if (kind === 'drift')
    return Number.isInteger(value) ? `${value} rows that differ` : `a mean of ${value.toFixed(1)} rows that differ in each look`;
  return `${(value * 100).toFixed(0)} % failed looks`;
}
