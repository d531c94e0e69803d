/**
 * PostgreSQL's text of timestamps as whole numbers. Guarantee: exact to the microsecond over the whole range of years, BC included;
 * what is no timestamp (or an infinity) gives undefined.
 */

/** Days since 1970-01-01 and microseconds of that day, both of the local clock that the text shows. */
export interface ClockTime {
  readonly days: number;
  readonly micros: number;
  /** Seconds east of UTC, where the text says so. */
  readonly offsetSeconds: number | undefined;
}

export const DAY_SECONDS = 86_400;
export const DAY_MICROS: number = DAY_SECONDS * 1e6;

const ZERO = 0x30;
/** 2024-02-29 12:34:56 */
export const PLAIN_LENGTH = 19;
const TIMESTAMP =
  /^(\d{4,7})-(\d{2})-(\d{2})(?:[ T](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?)?(?: ?(Z|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?))?( BC)?$/;

export function parseTimestamp(text: string): ClockTime | undefined {
  return parsePlain(text) ?? parseAny(text);
}

const NINE = 9;

/** Of two digits; not a number where one is none. */
export function pair(text: string, at: number): number {
  const tens = text.charCodeAt(at) - ZERO;
  const ones = text.charCodeAt(at + 1) - ZERO;
  return tens >= 0 && tens <= NINE && ones >= 0 && ones <= NINE ? tens * 10 + ones : NaN;
}

/** PostgreSQL's own spelling of four-digit years, without a zone or in UTC, which nearly all are. Undefined for all others. */
function parsePlain(text: string): ClockTime | undefined {
  if (text.length < PLAIN_LENGTH || text[4] !== '-' || text[7] !== '-' || text[10] !== ' ' || text[13] !== ':' || text[16] !== ':')
    return undefined;
  const year = pair(text, 0) * 100 + pair(text, 2);
  const [month, day] = [pair(text, 5), pair(text, 8)];
  const clock = (pair(text, 11) * 60 + pair(text, 14)) * 60 + pair(text, 17);
  // Whatever is unusual is the other one's, comparisons with what is not a number included.
  if (
    !(year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= 28 && pair(text, 14) < 60 && pair(text, 17) < 60 && clock < DAY_SECONDS)
  )
    return undefined;
  let at = PLAIN_LENGTH;
  let fraction = 0;
  if (text[at] === '.') {
    let unit = 1e5;
    for (at++; unit >= 1; at++, unit /= 10) {
      const digit = text.charCodeAt(at) - ZERO;
      if (!(digit >= 0 && digit <= NINE)) break;
      fraction += digit * unit;
    }
    if (unit === 1e5) return undefined;
  }
  if (at !== text.length && !(at + 3 === text.length && text.endsWith('+00'))) return undefined;
  return { days: daysOf(year, month, day), micros: clock * 1e6 + fraction, offsetSeconds: at === text.length ? undefined : 0 };
}

function parseAny(text: string): ClockTime | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null) return undefined;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])] as const;
  const [hour, minute, second] = match[4] === undefined ? [0, 0, 0] : [Number(match[4]), Number(match[5]), Number(match[6])];
  if (month < 1 || month > 12 || day < 1 || hour > 24 || minute > 59 || second > 59 || year === 0) return undefined;
  if (hour === 24 && minute + second > 0) return undefined;
  const astronomical = match[9] === undefined ? year : 1 - year;
  if (day > 28 && day > daysIn(astronomical, month)) return undefined;
  const fraction = match[7] === undefined ? 0 : Number(match[7]) * 10 ** (6 - match[7].length);
  const micros = ((hour * 60 + minute) * 60 + second) * 1e6 + fraction;
  const days = daysOf(astronomical, month, day) + (micros === DAY_MICROS ? 1 : 0);
  const offsetSeconds = offsetOf(match[8]);
  if (offsetSeconds === 'wrong') return undefined;
  return { days, micros: micros === DAY_MICROS ? 0 : micros, offsetSeconds };
}

/** No zone of PostgreSQL's is farther from UTC than this and 59 minutes. */
const ZONE_HOURS_MAX = 15;

function offsetOf(text: string | undefined): number | undefined | 'wrong' {
  if (text === undefined) return undefined;
  if (text === '+00' || text === 'Z') return 0;
  const digits = text.slice(1).replaceAll(':', '');
  const [hours, minutes, seconds] = [0, 2, 4].map((at) => Number(digits.slice(at, at + 2))) as [number, number, number];
  if (hours > ZONE_HOURS_MAX || minutes > 59 || seconds > 59) return 'wrong';
  const amount = hours * 3600 + minutes * 60 + seconds;
  return text.startsWith('-') ? -amount : amount;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** Days since 1970-01-01 of a date of the proleptic Gregorian calendar: eras of 400 years that begin on the first of March. */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}

/** As PostgreSQL prints it, without a zone. */
export function timestampText(days: number, micros: number): string {
  const seconds = Math.floor(micros / 1e6);
  const rest = micros - seconds * 1e6;
  const minute = Math.floor(seconds / 60);
  const isBeforeChrist = days < FIRST_DAY;
  const text = `${dateText(days)} ${MINUTES[minute]!}${two(seconds - minute * 60)}`;
  if (rest === 0 && !isBeforeChrist) return text;
  return `${text}${rest === 0 ? '' : fractionText(rest)}${isBeforeChrist ? ' BC' : ''}`;
}

/** 0001-01-01. */
const FIRST_DAY = -719_162;
/** Of a day's minutes: `12:34:`. */
export const MINUTES: readonly string[] = Array.from(
  { length: 1440 },
  (_, minute) => `${two(Math.floor(minute / 60))}:${two(minute % 60)}:`,
);

/** Rows of one time are written together. */
const dates = new Map<number, string>();
const DATES_MAX = 20_000;

/** A year before Christ is told as PostgreSQL counts it. */
function dateText(days: number): string {
  let text = dates.get(days);
  if (text === undefined) {
    if (dates.size >= DATES_MAX) dates.clear();
    dates.set(days, (text = makeDateText(days)));
  }
  return text;
}

function makeDateText(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(year > 0 ? year : 1 - year).padStart(4, '0')}-${two(month)}-${two(day)}`;
}

/** Without zeros at its end. */
function fractionText(micros: number): string {
  const text = String(1e6 + micros);
  let end = text.length;
  while (text.charCodeAt(end - 1) === ZERO) end--;
  return `.${text.slice(1, end)}`;
}

function two(n: number): string {
  return n < 10 ? `0${n}` : String(n);
}
