/**
 * What is to be compared next. Guarantee: a finding's rows come first, then what has changed, whichever has waited longest; what was never compared or is
 * due for the sweep fills what is left of a round, and has a share of each: no part is passed over for ever, however much is written to the others.
 */

import { type InconclusiveByCause, inconclusiveByCause } from '#schemas/reconcile/drift-cause.ts';
import type { InconclusiveCause } from '#schemas/reconcile/verify-result.ts';

/** A table, or a range of its keys. */
export interface Part<T> {
  readonly what: T;
  /** Rows that it has, as far as is known. */
  rows: number;
  /** When it was last found equal; undefined: never. */
  provedAtMs: number | undefined;
  /** When it was last compared, whatever came of it. */
  comparedAtMs: number | undefined;
  /** Of the last comparison. */
  verdict: 'equal' | 'differs' | 'inconclusive' | undefined;
  /** Of one that said nothing: why. */
  cause: InconclusiveCause | undefined;
  /** Since when it has changes that no comparison has seen; undefined: none. */
  changedAtMs: number | undefined;
  /** A finding waits for another look. */
  urgent: boolean;
  /** Comparisons in a row that said nothing. */
  failures: number;
}

export interface ScheduleOptions {
  /** A part that does not change is compared again after this. */
  readonly sweepMs: number;
  /** Rows of one round, at most. */
  readonly roundRows: number;
  /** Rows that a round may have before what has not changed is added to it only by its share. */
  readonly sweepRows: number;
  /** What could not be compared is tried again after this. */
  readonly retryMs: number;
  /** What has not changed waits for a later round. */
  readonly pressingOnly?: boolean;
}

export function newPart<T>(what: T, rows: number): Part<T> {
  return {
    what,
    rows,
    provedAtMs: undefined,
    comparedAtMs: undefined,
    verdict: undefined,
    cause: undefined,
    changedAtMs: undefined,
    urgent: false,
    failures: 0,
  };
}

/** What is known of a part whose rows lie in all of these: proved is only what each of them was. */
export function takenOver<T>(before: readonly Part<T>[]): Omit<Part<T>, 'what' | 'rows'> {
  const [first] = before;
  const all = (times: readonly (number | undefined)[]): number | undefined =>
    times.length > 0 && times.every((one) => one !== undefined) ? Math.min(...times) : undefined;
  const some = before.flatMap(({ changedAtMs }) => changedAtMs ?? []);
  return {
    provedAtMs: all(before.map(({ provedAtMs }) => provedAtMs)),
    comparedAtMs: all(before.map(({ comparedAtMs }) => comparedAtMs)),
    verdict: before.every(({ verdict }) => verdict === first?.verdict) ? first?.verdict : mixed(before),
    cause: before.find(({ cause }) => cause !== undefined)?.cause,
    changedAtMs: some.length > 0 ? Math.min(...some) : undefined,
    urgent: before.some(({ urgent }) => urgent),
    failures: Math.max(0, ...before.map(({ failures }) => failures)),
  };
}

/** Of a round, what has not changed, however much has; and where some of it was never compared, so that all of it soon was once. */
const SWEEP_SHARE_MIN = 1 / 8;
const NEVER_SHARE_MIN = 1 / 2;

/** The parts of the next round, most pressing first; one at least when any is due. */
export function dueParts<T>(parts: readonly Part<T>[], nowMs: number, options: ScheduleOptions): readonly Part<T>[] {
  const { roundRows, sweepRows } = options;
  const due = parts
    .map((part) => ({ part, rank: rankOf(part, nowMs, options) }))
    .filter(({ rank }) => rank !== undefined)
    .toSorted((one, other) => one.rank!.level - other.rank!.level || one.rank!.sinceMs - other.rank!.sinceMs);
  const of = (isPressing: boolean): readonly Part<T>[] =>
    due.filter(({ rank }) => (rank!.level !== RESTING) === isPressing).map(({ part }) => part);
  const pressing = upTo(of(true), roundRows, { least: 1 });
  if (options.pressingOnly === true) return pressing;
  const resting = of(false);
  const isNew = resting[0]?.comparedAtMs === undefined;
  const [most, share] = isNew ? [roundRows, NEVER_SHARE_MIN] : [sweepRows, SWEEP_SHARE_MIN];
  const left = Math.max(most - rowsOf(pressing), roundRows * share);
  // A part that is larger than a round does not keep a finding waiting.
  return [...pressing, ...upTo(resting, left, { least: pressing.some(({ urgent }) => urgent) ? 0 : 1 })];
}

/** @param least So many, whatever their size. */
function upTo<T>(parts: readonly Part<T>[], most: number, { least }: { readonly least: number }): readonly Part<T>[] {
  let rows = 0;
  const end = parts.findIndex((part, i) => (rows += part.rows) > most && i >= least);
  return end < 0 ? parts : parts.slice(0, end);
}

function rowsOf<T>(parts: readonly Part<T>[]): number {
  return parts.reduce((sum, { rows }) => sum + rows, 0);
}

/** From one look at what changes to the next: what somebody spoils there is to be found within ten seconds. */
const CYCLE_MS = 8_000;

export interface RoundWork {
  readonly rows: number;
  /** Without what the target was waited for. */
  readonly workedMs: number;
}

/** Of a round in which what changes is looked at: however little the budget allows, and however much. */
const ROUND_ROWS = { least: 200_000, most: 1_000_000 };

/** So that a round and its rest are over in time, if its rows cost what those of the last one did. */
export function roundSize({ rows, workedMs }: RoundWork, budget: number): Pick<ScheduleOptions, 'roundRows' | 'sweepRows'> {
  const affordable = workedMs <= 0 ? ROUND_ROWS.least : (rows / workedMs) * CYCLE_MS * budget;
  const roundRows = Math.min(ROUND_ROWS.most, Math.max(ROUND_ROWS.least, affordable));
  return { roundRows, sweepRows: Math.min(roundRows, affordable) };
}

/** Of parts that were not all found alike: what differs somewhere differs. */
function mixed<T>(before: readonly Part<T>[]): Part<T>['verdict'] {
  return before.some(({ verdict }) => verdict === 'differs') ? 'differs' : undefined;
}

/** What differs may be put right by anybody, unseen by the log. */
const DIFFERS_RETRIES = 6;
/** What never says anything is asked ever less often: at last every 64 times as long. */
const FAILURES_COUNTED = 6;

const FOUND = 0;
const CHANGED = 1;
/** Nothing is known to have happened to it. */
const RESTING = 2;

interface Rank {
  readonly level: typeof FOUND | typeof CHANGED | typeof RESTING;
  readonly sinceMs: number;
}

function rankOf<T>(part: Part<T>, nowMs: number, { sweepMs, retryMs }: ScheduleOptions): Rank | undefined {
  const { comparedAtMs, changedAtMs, verdict } = part;
  const pauseMs = Math.min(retryMs * 2 ** Math.min(Math.max(0, part.failures - 1), FAILURES_COUNTED), sweepMs);
  // A clock that was set back does not make anything wait for what it takes to get there again.
  const agoMs = nowMs - (comparedAtMs ?? 0);
  if (verdict === 'inconclusive' && agoMs >= 0 && agoMs < pauseMs) return undefined;
  if (part.urgent) return { level: FOUND, sinceMs: comparedAtMs ?? 0 };
  if (changedAtMs !== undefined) return { level: CHANGED, sinceMs: comparedAtMs === undefined ? 0 : changedAtMs };
  if (comparedAtMs === undefined) return { level: RESTING, sinceMs: 0 };
  const againMs = verdict === 'inconclusive' ? pauseMs : verdict === 'differs' ? DIFFERS_RETRIES * retryMs : sweepMs;
  const dueMs = comparedAtMs + Math.min(againMs, sweepMs);
  return nowMs >= dueMs || agoMs < 0 ? { level: RESTING, sinceMs: dueMs } : undefined;
}

export interface Coverage {
  /** Of the rows known, those that the last comparison of their part found equal: 0 to 1; 1 only where every part was. */
  readonly proved: number;
  /** When the part that was proved longest ago was; undefined while one was never. */
  readonly oldestProofMs: number | undefined;
  /** Parts whose last comparison said nothing. */
  readonly inconclusive: number;
  readonly inconclusiveByCause: InconclusiveByCause;
}

export function coverageOf<T>(parts: readonly Part<T>[]): Coverage {
  let [rows, proved] = [0, 0];
  for (const part of parts) {
    // One in which the source has no row may have some on the target: it counts for one.
    const weight = Math.max(1, part.rows);
    rows += weight;
    if (part.verdict === 'equal') proved += weight;
  }
  const silent = parts.filter(({ verdict }) => verdict === 'inconclusive');
  const isWhole = parts.every(({ provedAtMs }) => provedAtMs !== undefined);
  return {
    proved: rows === 0 ? 1 : proved / rows,
    oldestProofMs: isWhole && parts.length > 0 ? Math.min(...parts.map(({ provedAtMs }) => provedAtMs!)) : undefined,
    inconclusive: silent.length,
    inconclusiveByCause: inconclusiveByCause(silent.map(({ cause }) => cause ?? 'unreadable')),
  };
}
