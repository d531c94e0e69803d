/**
 * Dates, times and timestamps as Debezium's numbers. Guarantee: what PostgreSQL can hold and 64 bits can carry comes back as it was;
 * ±infinity are Debezium's own extremes (of a date, the extremes of 32 bits), which no real value of the type is written as.
 */
import type { ConnectType } from '../connect-type.ts';
import type { Slab } from '../slab.ts';
import { DAY_MICROS, HOUR_MICROS, parsed, parseDate, parseTime, renderDate, renderTime, renderWithinHour } from './calendar.ts';
import type { IntegerForm } from './form.ts';

const NUMBER_DAYS = 50_000; // days whose microseconds stay far below 2^52
const INT64_MAX = (1n << 63n) - 1n; // the connector's infinity in microseconds

/** Debezium's ±infinity (the PostgreSQL driver's own), in milliseconds. */
const INFINITY_MS = 9_223_372_036_825_200n;
const MINUS_INFINITY_MS = -9_223_372_036_832_400n;

/** PostgreSQL has no date beyond 5874897-12-31, and nothing before 4714-11-24 BC. */
const LAST_DAY = 2_145_042_905;
const FIRST_DAY = -2_440_588;
const DATE_INFINITY = 2_147_483_647;
const DATE_MINUS_INFINITY = -2_147_483_648;
/**
 * What the connector itself makes of infinity in a snapshot or an array (seen with 3.7): the milliseconds above in days, cut to 32 bits, a
 * day more or less by the worker's time zone. Its other extremes lie outside of what PostgreSQL has.
 */
const CONNECTOR_DATE_INFINITY = -622_191_234;

const FIRST_MICROS = BigInt(FIRST_DAY) * BigInt(DAY_MICROS);

export function isInfinity(b: Buffer, from: number, to: number): 1 | -1 | 0 {
  if (b[to - 1] !== 0x79 || to - from > 9) return 0;
  return b[from] === 0x69 ? 1 : b[from] === 0x2d ? -1 : 0;
}

export function dateForm(type: ConnectType): IntegerForm {
  return {
    kind: 'integer',
    type,
    strict: false,
    parse(b, from, to) {
      const sign = isInfinity(b, from, to);
      if (sign !== 0) return sign > 0 ? DATE_INFINITY : DATE_MINUS_INFINITY;
      return parseDate(b, from, to) ? parsed.days : undefined;
    },
    render(out, value) {
      if (value > LAST_DAY || isAbout(value, CONNECTOR_DATE_INFINITY)) out.ascii('infinity');
      else if (value < FIRST_DAY) out.ascii('-infinity');
      else if (renderDate(out, Number(value))) out.ascii(' BC');
    },
  };
}

function isAbout(value: number | bigint, day: number): boolean {
  return Math.abs(Number(value) - day) <= 1;
}

/** Units per microsecond: 1, or fractions of it as their inverse. */
function toUnits(micros: number, microsPerUnit: number): number {
  return Math.floor(micros / microsPerUnit);
}

/** `microsPerUnit`: 1000 for milliseconds, 1, or 0.001 for nanoseconds. */
export function timeForm(type: ConnectType, microsPerUnit: number): IntegerForm {
  return {
    kind: 'integer',
    type,
    strict: false,
    parse: (b, from, to) => (parseTime(b, from, to) && parsed.at === to ? toUnits(parsed.micros, microsPerUnit) : undefined),
    render: (out, value) => renderTime(out, Math.floor(Number(value) * microsPerUnit)),
  };
}

/** `microsPerUnit`: 1000 for milliseconds, 1 for microseconds. */
export function timestampForm(type: ConnectType, microsPerUnit: 1 | 1000): IntegerForm {
  const scale = BigInt(microsPerUnit);
  const infinity = microsPerUnit === 1 ? INFINITY_MS * 1000n : INFINITY_MS;
  const minusInfinity = microsPerUnit === 1 ? MINUS_INFINITY_MS * 1000n : MINUS_INFINITY_MS;
  const dayUnits = DAY_MICROS / microsPerUnit;
  return {
    kind: 'integer',
    type,
    strict: false,
    parse(b, from, to) {
      const sign = isInfinity(b, from, to);
      if (sign !== 0) return sign > 0 ? infinity : minusInfinity;
      if (!parseDate(b, from, to) || !parseTime(b, parsed.at + 1, to)) return undefined;
      if (parsed.days < NUMBER_DAYS && parsed.days > -NUMBER_DAYS) return parsed.days * dayUnits + toUnits(parsed.micros, microsPerUnit);
      const big = (BigInt(parsed.days) * BigInt(DAY_MICROS) + BigInt(parsed.micros)) / scale;
      return big > INT64_MAX || big < -INT64_MAX ? undefined : big;
    },
    render(out, value) {
      if (typeof value === 'number') {
        const days = Math.floor(value / dayUnits);
        renderMoment(out, days, (value - days * dayUnits) * microsPerUnit);
      } else if (value === infinity || value * scale >= INT64_MAX) out.ascii('infinity');
      else if (value * scale < FIRST_MICROS) out.ascii('-infinity');
      else renderBigMoment(out, value * scale);
    },
  };
}

function renderBigMoment(out: Slab, micros: bigint): void {
  const day = BigInt(DAY_MICROS);
  const within = ((micros % day) + day) % day;
  renderMoment(out, Number((micros - within) / day), Number(within));
}

function renderMoment(out: Slab, days: number, micros: number): void {
  const isBc = renderDate(out, days);
  out.byte(0x20);
  renderTime(out, micros);
  if (isBc) out.ascii(' BC');
}

/** Nanoseconds since 1970, which only others write. */
export function nanoTimestampForm(type: ConnectType): IntegerForm {
  return {
    kind: 'integer',
    type,
    strict: false,
    parse: () => undefined,
    render(out, value) {
      const big = BigInt(value);
      if (big === INT64_MAX) out.ascii('infinity');
      else if (big === -INT64_MAX - 1n) out.ascii('-infinity');
      else renderBigMoment(out, (big - (((big % 1000n) + 1000n) % 1000n)) / 1000n);
    },
  };
}

const INTERVAL = /^(?:(-?\d+) years? ?)?(?:(-?\d+) mons? ?)?(?:(-?\d+) days? ?)?(?:(-?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?)?$/;
const MONTH_DAYS = 30.4375;

/** Microseconds, a month as 30.4375 days: exact only for intervals of nothing but hours, minutes and seconds. */
export function durationForm(type: ConnectType): IntegerForm {
  return {
    kind: 'integer',
    type,
    strict: false,
    parse(b, from, to) {
      const match = INTERVAL.exec(b.toString('latin1', from, to).replaceAll('+', ''));
      if (match === null || match[0] === '') return undefined;
      const months = Number(match[1] ?? 0) * 12 + Number(match[2] ?? 0);
      const days = Number(match[3] ?? 0);
      const seconds = BigInt(match[5] ?? 0) * 3600n + BigInt(Number(match[6] ?? 0) * 60 + Number(match[7] ?? 0));
      const clock = seconds * 1_000_000n + BigInt((match[8] ?? '').padEnd(6, '0'));
      const micros = BigInt(Math.round((months * MONTH_DAYS + days) * 86_400)) * 1_000_000n + (match[4] === '-' ? -clock : clock);
      return micros > INT64_MAX || micros < -INT64_MAX ? undefined : micros;
    },
    render(out, value) {
      const big = BigInt(value);
      const size = big < 0n ? -big : big;
      if (big < 0n) out.byte(0x2d);
      out.digits(Number(size / BigInt(HOUR_MICROS)), 2);
      renderWithinHour(out, Number(size % BigInt(HOUR_MICROS)));
    },
  };
}
