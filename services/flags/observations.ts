/**
 * What applications report of their reads and writes, summed by minute. Guarantee: bounded however much is reported (minutes, units, samples); a
 * duration's percentile is at most a twentieth too high; no value of a row is in it, only hashes.
 */
import type { Observation, ObservationMinute, ObservationsReport, SideSummary, UnitSummary } from '#schemas/flags/observation.ts';
import type { Side } from '#schemas/flags/read-rules.ts';

const MINUTE_MS = 60_000;
const MINUTES_KEPT = 180;
/** Of one minute; further ones are counted together. */
const UNITS_MAX = 200;
const OTHER_UNITS = '(others)';
const MISMATCHES_KEPT = 100;

interface Minute {
  readonly startMs: number;
  readonly sides: Readonly<Record<Side, SideSum>>;
  readonly units: Map<string, MutableUnit>;
  observed: number;
  compared: number;
  equal: number;
  different: number;
  settled: number;
  incomparable: number;
}
type MutableUnit = { -readonly [K in keyof UnitSummary]: UnitSummary[K] };

export class Observations {
  readonly #minutes: Minute[] = [];
  readonly #mismatches: Observation[] = [];
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
  }

  add(observations: readonly Observation[]): void {
    const minute = this.#minuteNow();
    for (const observation of observations) {
      addTo(minute, observation);
      if (observation.result === 'different') this.#keep(observation);
    }
  }

  #keep(observation: Observation): void {
    this.#mismatches.push(observation);
    if (this.#mismatches.length > MISMATCHES_KEPT) this.#mismatches.shift();
  }

  /** By when it arrived: clocks of applications differ. */
  #minuteNow(): Minute {
    const startMs = Math.floor(this.#nowMs() / MINUTE_MS) * MINUTE_MS;
    const last = this.#minutes.at(-1);
    if (last !== undefined && last.startMs >= startMs) return last;
    const minute = newMinute(startMs);
    this.#minutes.push(minute);
    if (this.#minutes.length > MINUTES_KEPT) this.#minutes.shift();
    return minute;
  }

  /** Of the last minutes, the present one included. What a trigger judges. */
  report(minutes = MINUTES_KEPT): ObservationsReport {
    const sinceMs = this.#nowMs() - minutes * MINUTE_MS;
    return {
      minutes: this.#minutes.filter(({ startMs }) => startMs > sinceMs).map(summaryOf),
      mismatches: [...this.#mismatches],
    };
  }
}

function newMinute(startMs: number): Minute {
  const none = { observed: 0, compared: 0, equal: 0, different: 0, settled: 0, incomparable: 0 };
  return { startMs, sides: { source: new SideSum(), target: new SideSum() }, units: new Map(), ...none };
}

function addTo(minute: Minute, { result, unit, source, target }: Observation): void {
  minute.observed++;
  const errors = (source?.error === undefined ? 0 : 1) + (target?.error === undefined ? 0 : 1);
  if (source !== undefined) minute.sides.source.add(source.ms, source.error !== undefined);
  if (target !== undefined) minute.sides.target.add(target.ms, target.error !== undefined);
  if (result !== undefined) {
    minute[result]++;
    if (result !== 'incomparable') minute.compared++;
  }
  if (unit === undefined) return;
  const sum = unitOf(minute, unit);
  sum.observed++;
  sum.errors += errors;
  if (result === 'different') sum.different++;
}

function unitOf({ units }: Minute, name: string): MutableUnit {
  const unit = units.has(name) || units.size < UNITS_MAX ? name : OTHER_UNITS;
  let sum = units.get(unit);
  if (sum === undefined) units.set(unit, (sum = { unit, observed: 0, errors: 0, different: 0 }));
  return sum;
}

function summaryOf({ startMs, sides, units, ...counts }: Minute): ObservationMinute {
  const same = counts.equal + counts.settled;
  return {
    at: new Date(startMs).toISOString(),
    ...counts,
    consistency: counts.compared === 0 ? null : same / counts.compared,
    source: sides.source.summary(),
    target: sides.target.summary(),
    units: [...units.values()].map((unit) => ({ ...unit })),
  };
}

/** Durations fall into classes whose bounds grow by a twentieth: of a percentile the upper bound is told. */
const GROWTH = Math.log(1.05);
const SMALLEST_MS = 0.01;

class SideSum {
  readonly #classes = new Map<number, number>();
  #count = 0;
  #errors = 0;

  add(ms: number, failed: boolean): void {
    this.#count++;
    if (failed) this.#errors++;
    const index = Math.ceil(Math.log(Math.max(ms, SMALLEST_MS) / SMALLEST_MS) / GROWTH);
    this.#classes.set(index, (this.#classes.get(index) ?? 0) + 1);
  }

  summary(): SideSummary {
    return { count: this.#count, errors: this.#errors, p50Ms: this.#percentile(0.5), p99Ms: this.#percentile(0.99) };
  }

  #percentile(share: number): number | null {
    let left = Math.ceil(this.#count * share);
    for (const [index, count] of [...this.#classes].toSorted(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return SMALLEST_MS * Math.exp(index * GROWTH);
    }
    return null;
  }
}
