/**
 * Local time to moment and back, by the IANA zones that Node carries. Guarantee: a local time that the zone shows twice, or never, is
 * taken as the file says and in no other way; `later` for both is what PostgreSQL's AT TIME ZONE does.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import { isTimeZone } from '../time-zone.ts';
import { onText, StepFault, StepRefusal, type Step } from './step.ts';
import { DAY_MICROS, DAY_SECONDS, parseTimestamp, timestampText } from './timestamp-text.ts';

type ZoneBlock = NonNullable<StepBlock['zone']>;

/** Temporal ends some 270,000 years from 1970. */
const DAYS_MAX = 99_000_000;
/** Infinity has no zone. */
const ENDLESS: ReadonlySet<string> = new Set(['infinity', '-infinity']);

export function zoneStep(block: ZoneBlock): Step {
  const name = (block.from ?? block.to)!;
  if (!isTimeZone(name)) {
    throw new StepFault(
      `"${name}" is not an IANA time zone${didYouMean(name, Intl.supportedValuesOf('timeZone'))}`,
      'Write it as in Europe/Berlin.',
    );
  }
  const clock = new ZoneClock(name);
  return onText((text) => {
    if (ENDLESS.has(text)) return text;
    const parsed = parseTimestamp(text);
    if (parsed === undefined || Math.abs(parsed.days) > DAYS_MAX) throw new StepRefusal('the value is no timestamp');
    const { days, micros, offsetSeconds } = parsed;
    if (block.to === undefined) {
      if (offsetSeconds !== undefined) throw new StepRefusal('the value has a zone of its own');
      return `${shifted(days, micros, -clock.offsetOfLocal(days, micros, block))}+00`;
    }
    if (offsetSeconds === undefined) throw new StepRefusal('the value has no zone');
    const utc = move(days, micros, -offsetSeconds);
    return shifted(utc.days, utc.micros, clock.offsetOfMoment(utc.days, utc.micros));
  });
}

function move(days: number, micros: number, seconds: number): { readonly days: number; readonly micros: number } {
  const sum = micros + seconds * 1e6;
  const over = Math.floor(sum / DAY_MICROS);
  return { days: days + over, micros: sum - over * DAY_MICROS };
}

function shifted(days: number, micros: number, seconds: number): string {
  const moved = move(days, micros, seconds);
  return timestampText(moved.days, moved.micros);
}

/** Offsets of one zone. */
class ZoneClock {
  readonly #name: string;
  /** Of days around which the offset never changes; null where it does. */
  readonly #steady = new Map<number, number | null>();

  constructor(name: string) {
    this.#name = name;
  }

  offsetOfMoment(days: number, micros: number): number {
    const steady = this.#steadyOffset(days);
    if (steady !== null) return steady;
    return this.#offsetAt(days * DAY_SECONDS + Math.floor(micros / 1e6));
  }

  offsetOfLocal(days: number, micros: number, { ambiguous, skipped }: ZoneBlock): number {
    const steady = this.#steadyOffset(days);
    if (steady !== null) return steady;
    const local = days * DAY_SECONDS + Math.floor(micros / 1e6);
    const offsets = this.#offsetsNear(days);
    const fitting = offsets.filter((offset) => this.#offsetAt(local - offset) === offset);
    if (fitting.length === 1) return fitting[0]!;
    const policy = fitting.length > 1 ? ambiguous : skipped;
    if (policy === 'fail') {
      const what = fitting.length > 1 ? 'was shown twice by the clocks of' : 'was left out by the clocks of';
      throw new StepRefusal(`the local time ${what} ${this.#name}`);
    }
    // The larger offset gives the earlier moment. Around a gap the two offsets are those before and after it.
    const choices = fitting.length > 1 ? fitting : this.#aroundGap(local, offsets);
    return policy === 'earlier' ? Math.max(...choices) : Math.min(...choices);
  }

  /** Offsets just before and just after the gap that this local time falls into. */
  #aroundGap(local: number, offsets: readonly number[]): number[] {
    const before = this.#offsetAt(local - Math.max(...offsets));
    const after = this.#offsetAt(local - Math.min(...offsets));
    return [before, after];
  }

  /** All offsets in force from a day before to a day after. */
  #offsetsNear(days: number): number[] {
    const [from, to] = [(days - 1) * DAY_SECONDS, (days + 2) * DAY_SECONDS];
    const offsets = new Set([this.#offsetAt(from)]);
    let at = this.#next(from);
    while (at !== undefined && at <= to) {
      offsets.add(this.#offsetAt(at));
      at = this.#next(at);
    }
    return [...offsets];
  }

  #steadyOffset(days: number): number | null {
    let offset = this.#steady.get(days);
    if (offset === undefined) {
      const near = this.#offsetsNear(days);
      offset = near.length === 1 ? near[0]! : null;
      if (this.#steady.size > DAYS_KEPT) this.#steady.clear();
      this.#steady.set(days, offset);
    }
    return offset;
  }

  #at(second: number): Temporal.ZonedDateTime {
    return Temporal.Instant.fromEpochMilliseconds(second * 1000).toZonedDateTimeISO(this.#name);
  }

  #offsetAt(second: number): number {
    return this.#at(second).offsetNanoseconds / 1e9;
  }

  #next(second: number): number | undefined {
    const next = this.#at(second).getTimeZoneTransition('next');
    return next === null ? undefined : Math.floor(next.epochMilliseconds / 1000);
  }
}

const DAYS_KEPT = 100_000;
