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

const TIMESTAMP =
  /^(\d{4,7})-(\d{2})-(\d{2})(?:[ T](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?)?(?: ?(Z|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?))?( BC)?$/;

export function parseTimestamp(text: string): ClockTime | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map((i) => Number(match[i] ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12 || day < 1 || hour > 24 || minute > 59 || second > 59 || year === 0) return undefined;
  if (hour === 24 && minute + second > 0) return undefined;
  const astronomical = match[9] === undefined ? year : 1 - year;
  if (day > daysIn(astronomical, month)) return undefined;
  const micros = ((hour * 60 + minute) * 60 + second) * 1e6 + Number((match[7] ?? '').padEnd(6, '0'));
  const days = daysOf(astronomical, month, day) + Math.floor(micros / DAY_MICROS);
  return { days, micros: micros % DAY_MICROS, offsetSeconds: offsetOf(match[8]) };
}

function offsetOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (text === 'Z') return 0;
  const digits = text.slice(1).replaceAll(':', '');
  const [hours, minutes, seconds] = [0, 2, 4].map((at) => Number(digits.slice(at, at + 2))) as [number, number, number];
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
  const seconds = Math.floor(micros / 1e6);
  const rest = micros - seconds * 1e6;
  const fraction = rest === 0 ? '' : `.${String(rest).padStart(6, '0').replace(/0+$/, '')}`;
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':');
  return `${String(year > 0 ? year : 1 - year).padStart(4, '0')}-${two(month)}-${two(day)} ${clock}${fraction}${year > 0 ? '' : ' BC'}`;
}

function two(n: number): string {
  return n < 10 ? `0${n}` : String(n);
}
