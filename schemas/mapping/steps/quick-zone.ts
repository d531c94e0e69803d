/**
 * Moments of everyday days by whole minutes. Guarantee: the same text as by the clock of the zone, or undefined: for a day near which the zone changes its
 * clocks, for an offset with seconds in it, for a date near the ends of four-digit years, and for what is spelt in another way.
 */
import { MINUTES, pair, parseTimestamp, PLAIN_LENGTH, timestampText } from './timestamp-text.ts';

interface Day {
  /** To be added to the text's clock. */
  readonly minutes: number;
  /** Dates, each with the blank behind it. */
  readonly before: string;
  readonly same: string;
  readonly after: string;
}

/** 0002-01-01 and 9999-12-30, in days since 1970. */
const [FIRST_DAY, LAST_DAY] = [-718_797, 2_932_895] as const;
const DAYS_KEPT = 20_000;
const DATE_LENGTH = 10;
const SECONDS_AT = 17;
const FRACTION_MAX = 7;
const UTC = '+00';
const DAY_MINUTES = 1440;
const [ZERO, NINE, COLON, POINT, BLANK, HYPHEN] = [0x30, 0x39, 0x3a, 0x2e, 0x20, 0x2d] as const;

export interface QuickZoneOptions {
  /** What is to be added to the clocks of that day (since 1970), in seconds; undefined where that is not the same for all of it. */
  readonly shiftOf: (days: number) => number | undefined;
  /** Of the text that comes, and of that which goes. */
  readonly ends: readonly [from: '' | typeof UTC, to: '' | typeof UTC];
}

export function quickZone({ shiftOf, ends: [from, to] }: QuickZoneOptions): (text: string) => string | undefined {
  const known = new Map<number, Day | undefined>();
  const dayOf = (date: number, text: string): Day | undefined => {
    if (known.size >= DAYS_KEPT) known.clear();
    const days = parseTimestamp(text.slice(0, DATE_LENGTH))?.days;
    const seconds = days === undefined || days < FIRST_DAY || days > LAST_DAY ? undefined : shiftOf(days);
    const isWhole = days !== undefined && seconds !== undefined && seconds % 60 === 0;
    const day = isWhole
      ? { minutes: seconds / 60, before: dateText(days - 1), same: dateText(days), after: dateText(days + 1) }
      : undefined;
    known.set(date, day);
    return day;
  };
  return (text) => {
    const end = text.length - from.length;
    if (!isPlain(text, end) || !text.endsWith(from)) return undefined;
    // A number is looked up quicker than a text.
    const date = ((pair(text, 0) * 100 + pair(text, 2)) * 100 + pair(text, 5)) * 100 + pair(text, 8);
    if (Number.isNaN(date)) return undefined;
    const day = known.get(date) ?? (known.has(date) ? undefined : dayOf(date, text));
    if (day === undefined) return undefined;
    const minute = pair(text, 11) * 60 + pair(text, 14) + day.minutes;
    // Short texts are put together at once, and a long one only when it is written.
    const rest = text.slice(SECONDS_AT, keptOf(text, end)) + to;
    if (minute < 0) return day.before + MINUTES[minute + DAY_MINUTES]! + rest;
    return minute < DAY_MINUTES ? day.same + MINUTES[minute]! + rest : day.after + MINUTES[minute - DAY_MINUTES]! + rest;
  };
}

function dateText(days: number): string {
  return `${timestampText(days, 0).slice(0, DATE_LENGTH)} `;
}

/** Zeros at the end of a fraction are not written. */
function keptOf(text: string, end: number): number {
  let kept = end;
  if (kept > PLAIN_LENGTH) while (text.charCodeAt(kept - 1) === ZERO) kept--;
  return text.charCodeAt(kept - 1) === POINT ? kept - 1 : kept;
}

/** Whether `text` up to `end` is spelt as PostgreSQL prints a timestamp (or with zeros at the end of the fraction); of its date's digits nothing is said. */
function isPlain(text: string, end: number): boolean {
  if (end < PLAIN_LENGTH || text.charCodeAt(4) !== HYPHEN || text.charCodeAt(7) !== HYPHEN || text.charCodeAt(DATE_LENGTH) !== BLANK)
    return false;
  if (text.charCodeAt(13) !== COLON || text.charCodeAt(16) !== COLON) return false;
  if (!(pair(text, 11) < 24 && pair(text, 14) < 60 && pair(text, SECONDS_AT) < 60)) return false;
  if (end === PLAIN_LENGTH) return true;
  if (end > PLAIN_LENGTH + FRACTION_MAX || text.charCodeAt(PLAIN_LENGTH) !== POINT) return false;
  for (let i = PLAIN_LENGTH + 1; i < end; i++) if (!isDigit(text.charCodeAt(i))) return false;
  return end > PLAIN_LENGTH + 1;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}
