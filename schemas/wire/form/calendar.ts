/**
 * Dates and times of PostgreSQL's ISO style as numbers. Guarantee: proleptic Gregorian as PostgreSQL counts, to its edges (4714 BC to
 * 5874897 AD), whole microseconds; `parse…` takes nothing that is not such a text.
 */
import type { Slab } from '../slab.ts';

const COLON = 0x3a;
const DASH = 0x2d;
const DOT = 0x2e;
const SPACE = 0x20;
const ZERO = 0x30;

export const DAY_MICROS = 86_400_000_000;
export const HOUR_MICROS = 3_600_000_000;

/** Days since 1970-01-01. */
export function daysOfDate(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const ofEra = y - era * 400;
  const ofYear = (((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) | 0) + day - 1;
  return era * 146_097 + ofEra * 365 + ((ofEra / 4) | 0) - ((ofEra / 100) | 0) + ofYear - 719_468;
}

/** What was read last: no object per value. */
export const parsed: { days: number; micros: number; at: number } = { days: 0, micros: 0, at: 0 };

function twoDigits(b: Buffer, at: number): number {
  const high = b[at]! - ZERO;
  const low = b[at + 1]! - ZERO;
  return high < 0 || high > 9 || low < 0 || low > 9 ? -1 : high * 10 + low;
}

/** Reads year-month-day at `from` to `parsed`; ` BC` stands at the very end. @returns false when it is no date. */
export function parseDate(b: Buffer, from: number, to: number): boolean {
  let p = from;
  let year = 0;
  for (; p < to && b[p] !== DASH; p++) {
    const digit = b[p]! - ZERO;
    if (digit < 0 || digit > 9) return false;
    year = year * 10 + digit;
  }
  if (p - from < 4 || p - from > 7 || b[p + 3] !== DASH || p + 6 > to) return false;
  const month = twoDigits(b, p + 1);
  const day = twoDigits(b, p + 4);
  if (month < 1 || month > 12 || day < 1 || day > 31) return false;
  const isBc = to - from > 3 && b[to - 1] === 0x43 && b[to - 2] === 0x42 && b[to - 3] === SPACE;
  parsed.days = daysOfDate(isBc ? 1 - year : year, month, day);
  parsed.at = p + 6;
  return true;
}

/** Reads hh:mm:ss[.ffffff] at `from` to `parsed`; hours may have more digits. */
export function parseTime(b: Buffer, from: number, to: number): boolean {
  if (from + 8 > to || b[from + 2] !== COLON || b[from + 5] !== COLON) return false;
  const hours = twoDigits(b, from);
  const minutes = twoDigits(b, from + 3);
  const seconds = twoDigits(b, from + 6);
  if (hours < 0 || minutes < 0 || seconds < 0) return false;
  let fraction = 0;
  let p = from + 8;
  if (p < to && b[p] === DOT) {
    let unit = 100_000;
    for (p++; p < to && b[p]! >= ZERO && b[p]! <= 0x39; p++) {
      fraction += (b[p]! - ZERO) * unit;
      unit = (unit / 10) | 0;
    }
  }
  parsed.micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
  parsed.at = p;
  return true;
}

/** yyyy-mm-dd. @returns true when the year is BC: whoever writes what follows writes ` BC` behind it. */
export function renderDate(out: Slab, days: number): boolean {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const ofEra = shifted - era * 146_097;
  const yearOfEra = ((ofEra - ((ofEra / 1460) | 0) + ((ofEra / 36_524) | 0) - ((ofEra / 146_096) | 0)) / 365) | 0;
  const ofYear = ofEra - (365 * yearOfEra + ((yearOfEra / 4) | 0) - ((yearOfEra / 100) | 0));
  const shiftedMonth = ((5 * ofYear + 2) / 153) | 0;
  const day = ofYear - (((153 * shiftedMonth + 2) / 5) | 0) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  out.digits(year > 0 ? year : 1 - year, 4);
  out.byte(DASH);
  out.digits(month, 2);
  out.byte(DASH);
  out.digits(day, 2);
  return year <= 0;
}

/** hh:mm:ss[.ffffff] without zeros at the end. */
export function renderTime(out: Slab, micros: number): void {
  const hours = Math.floor(micros / HOUR_MICROS);
  out.digits(hours, 2);
  renderWithinHour(out, micros - hours * HOUR_MICROS);
}

/** :mm:ss[.ffffff] */
export function renderWithinHour(out: Slab, micros: number): void {
  const seconds = Math.floor(micros / 1_000_000);
  let fraction = micros - seconds * 1_000_000;
  out.byte(COLON);
  out.digits((seconds / 60) | 0, 2);
  out.byte(COLON);
  out.digits(seconds % 60, 2);
  if (fraction === 0) return;
  let width = 6;
  while (fraction % 10 === 0) {
    fraction = (fraction / 10) | 0;
    width--;
  }
  out.byte(DOT);
  out.digits(fraction, width);
}
