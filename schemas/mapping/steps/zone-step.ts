/**
 * Local time to moment and back, by the IANA zones that Node carries. Guarantee: a local time that the zone shows twice, or never, is
 * taken as the file says and in no other way; `later` for both is what PostgreSQL's AT TIME ZONE does.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import { isTimeZone } from '../time-zone.ts';
import { quickZone, type QuickZoneOptions } from './quick-zone.ts';
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
  const quick = block.exact === true ? undefined : quickZone(quickOptions(block, clock));
  const form = { kind: block.to === undefined ? 'timestamptz' : 'timestamp', digits: DIGITS } as const;
  return onText((text) => quick?.(text) ?? zoned(text, block, clock), form);
}

function quickOptions({ to }: ZoneBlock, clock: ZoneClock): QuickZoneOptions {
  if (to !== undefined) return { shiftOf: (days) => clock.steadyOffset(days), ends: ['+00', ''] };
  const shiftOf = (days: number): number | undefined => {
    const offset = clock.steadyOffset(days);
    return offset === undefined ? undefined : -offset;
  };
  return { shiftOf, ends: ['', '+00'] };
}

/** Behind the point of a second. */
const DIGITS = 6;

function zoned(text: string, block: ZoneBlock, clock: ZoneClock): string {
  const parsed = parseTimestamp(text);
  if (parsed === undefined || Math.abs(parsed.days) > DAYS_MAX) {
    if (ENDLESS.has(text)) return text;
    throw new StepRefusal('the value is no timestamp');
  }
  const { days, micros, offsetSeconds } = parsed;
  if (block.to === undefined) {
    if (offsetSeconds !== undefined) throw new StepRefusal('the value has a zone of its own');
    return `${shifted(days, micros, -clock.offsetOfLocal(days, micros, block))}+00`;
  }
  if (offsetSeconds === undefined) throw new StepRefusal('the value has no zone');
  const utcDays = days + Math.floor((micros - offsetSeconds * 1e6) / DAY_MICROS);
  const utcMicros = micros - offsetSeconds * 1e6 - (utcDays - days) * DAY_MICROS;
  const seconds = clock.offsetOfMoment(utcDays, utcMicros);
  const local = shiftedBy(utcDays, utcMicros, seconds);
  if (block.exact === true && clock.offsetOfLocal(local.days, local.micros, block) !== seconds)
    throw new StepRefusal(`its local time in ${block.to} stands for another moment, too`);
  return timestampText(local.days, local.micros);
}

function shifted(days: number, micros: number, seconds: number): string {
  const to = shiftedBy(days, micros, seconds);
  return timestampText(to.days, to.micros);
}

function shiftedBy(days: number, micros: number, seconds: number): { readonly days: number; readonly micros: number } {
  const sum = micros + seconds * 1e6;
  const over = Math.floor(sum / DAY_MICROS);
  return { days: days + over, micros: sum - over * DAY_MICROS };
}

/** Offsets of one zone around a day, from `starts[i]` (seconds since 1970) on; the first one before, too. */
interface Offsets {
  readonly starts: readonly number[];
  readonly seconds: readonly number[];
}

function offsetAt({ starts, seconds }: Offsets, second: number): number {
  let i = starts.length - 1;
  while (i > 0 && starts[i]! > second) i--;
  return seconds[i]!;
}

class ZoneClock {
  readonly #name: string;
  /** By day, from the day before to the day after. Nearly all share the same few. */
  readonly #near = new Map<number, Offsets>();
  readonly #steady = new Map<number, Offsets>();

  constructor(name: string) {
    this.#name = name;
  }

  /** Where it is the same from the day before to the day after. */
  steadyOffset(days: number): number | undefined {
    const { seconds } = this.#offsetsNear(days);
    return seconds.length === 1 ? seconds[0] : undefined;
  }

  offsetOfMoment(days: number, micros: number): number {
    const near = this.#offsetsNear(days);
    return near.seconds.length === 1 ? near.seconds[0]! : offsetAt(near, days * DAY_SECONDS + Math.floor(micros / 1e6));
  }

  offsetOfLocal(days: number, micros: number, { ambiguous, skipped }: ZoneBlock): number {
    const near = this.#offsetsNear(days);
    if (near.seconds.length === 1) return near.seconds[0]!;
    const local = days * DAY_SECONDS + Math.floor(micros / 1e6);
    const offsets = [...new Set(near.seconds)];
    const fitting = offsets.filter((offset) => offsetAt(near, local - offset) === offset);
    if (fitting.length === 1) return fitting[0]!;
    const policy = fitting.length > 1 ? ambiguous : skipped;
    if (policy === 'fail') {
      const what = fitting.length > 1 ? 'was shown twice by the clocks of' : 'was left out by the clocks of';
      throw new StepRefusal(`the local time ${what} ${this.#name}`);
    }
    // The larger offset gives the earlier moment. Around a gap the two offsets are those before and after it.
    const gap = [offsetAt(near, local - Math.max(...offsets)), offsetAt(near, local - Math.min(...offsets))];
    const choices = fitting.length > 1 ? fitting : gap;
    return policy === 'earlier' ? Math.max(...choices) : Math.min(...choices);
  }

  #offsetsNear(days: number): Offsets {
    let near = this.#near.get(days);
    if (near === undefined) {
      if (this.#near.size >= DAYS_KEPT) this.#near.clear();
      this.#near.set(days, (near = this.#readOffsets((days - 1) * DAY_SECONDS, (days + 2) * DAY_SECONDS)));
    }
    return near;
  }

  #readOffsets(from: number, to: number): Offsets {
    const starts = [from];
    const seconds = [this.#offsetOf(from)];
    for (let at = this.#next(from); at !== undefined && at <= to; at = this.#next(at)) {
      starts.push(at);
      seconds.push(this.#offsetOf(at));
    }
    const only = starts.length === 1 ? this.#steady.get(seconds[0]!) : undefined;
    if (only !== undefined) return only;
    const offsets = { starts, seconds };
    if (starts.length === 1) this.#steady.set(seconds[0]!, offsets);
    return offsets;
  }

  #at(second: number): Temporal.ZonedDateTime {
    return Temporal.Instant.fromEpochMilliseconds(second * 1000).toZonedDateTimeISO(this.#name);
  }

  #offsetOf(second: number): number {
    return this.#at(second).offsetNanoseconds / 1e9;
  }

  #next(second: number): number | undefined {
    const next = this.#at(second).getTimeZoneTransition('next');
    return next === null ? undefined : Math.floor(next.epochMilliseconds / 1000);
  }
}

const DAYS_KEPT = 100_000;
