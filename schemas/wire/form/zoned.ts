/** timestamptz and timetz as ISO texts in UTC. Guarantee: a timestamptz comes back whole; a timetz only when it was in UTC. */
import type { ConnectType } from '../connect-type.ts';
import { DAY_MICROS, daysOfDate, parsed, parseTime, renderDate, renderTime } from './calendar.ts';
import type { StringForm } from './form.ts';
import { Slab } from '../slab.ts';

const scratch = new Slab(256);

/** What the PostgreSQL driver makes of ±infinity, as Debezium writes it. */
const INFINITY = '+294247-01-10T04:00:25.200Z';
const MINUS_INFINITY = '-290308-12-21T19:59:27.600Z';

const POSTGRES_MOMENT = /^(\d{4,6})-(\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00( BC)?$/;
const ISO_MOMENT = /^([+-]?\d{4,9})-(\d\d)-(\d\d)T(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?$/;
const ISO_TIME = /^(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)$/;
const LAST_YEAR = 294_276;
const FIRST_YEAR = -4713;

function isoYear(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, '0');
  return `${year < 0 ? '-' : '+'}${String(Math.abs(year)).padStart(4, '0')}`;
}

export function zonedTimestampForm(type: ConnectType): StringForm {
  return {
    kind: 'string',
    type,
    parse(text) {
      if (text === 'infinity') return INFINITY;
      if (text === '-infinity') return MINUS_INFINITY;
      const match = POSTGRES_MOMENT.exec(text);
      if (match === null) return undefined;
      const year = match[4] === undefined ? Number(match[1]) : 1 - Number(match[1]);
      return `${isoYear(year)}-${match[2]}T${match[3]}Z`;
    },
    render: momentText,
    direct: { write: writeDirect, read: readDirect },
  };
}

const DATE_LENGTH = 10;
const MOMENT_LENGTH = 19;

/** Bytes of yyyy-mm-dd?hh:mm:ss[.f…] up to `end`, the fraction without a zero at its end; `between` stands for the question mark. */
function isUsual(b: Buffer, from: number, end: number, between: number): boolean {
  const length = end - from;
  if (length < MOMENT_LENGTH || length > MOMENT_LENGTH + 7 || b[from + DATE_LENGTH] !== between) return false;
  if (length > MOMENT_LENGTH && (length === MOMENT_LENGTH + 1 || b[end - 1] === 0x30)) return false;
  for (let i = 0; i < length; i++) {
    const expected = LAYOUT[i]!;
    const c = b[from + i]!;
    if (expected === 0 ? c < 0x30 || c > 0x39 : expected !== 1 && c !== expected) return false;
  }
  return true;
}

/** 0: a digit; 1: anything. */
const LAYOUT = Uint8Array.from('0000-00-00?00:00:00.000000', (c) => (c === '0' ? 0 : c === '?' ? 1 : c.charCodeAt(0)));

/** yyyy-mm-dd hh:mm:ss[.f]+00 as yyyy-mm-ddThh:mm:ss[.f]Z. */
function writeDirect(b: Buffer, from: number, to: number, out: Slab): boolean {
  const end = to - 3;
  if (b[end] !== 0x2b || b[end + 1] !== 0x30 || b[end + 2] !== 0x30 || !isUsual(b, from, end, 0x20)) return false;
  out.bytes(b, from, end);
  out.buffer[out.pos - (end - from) + DATE_LENGTH] = 0x54;
  out.byte(0x5a);
  return true;
}

function readDirect(b: Buffer, from: number, to: number, out: Slab): boolean {
  const end = to - 1;
  if (b[end] !== 0x5a || !isUsual(b, from, end, 0x54) || isYearZero(b, from)) return false;
  out.bytes(b, from, end);
  out.buffer[out.pos - (end - from) + DATE_LENGTH] = 0x20;
  out.ascii('+00');
  return true;
}

/** ISO's year 0 is 1 BC. */
function isYearZero(b: Buffer, from: number): boolean {
  return b[from] === 0x30 && b[from + 1] === 0x30 && b[from + 2] === 0x30 && b[from + 3] === 0x30;
}

function zoneSeconds(zone: string | undefined): number {
  if (zone === undefined || zone === 'Z') return 0;
  const digits = zone.slice(1).replaceAll(':', '').padEnd(6, '0');
  const seconds = Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2, 4)) * 60 + Number(digits.slice(4, 6));
  return zone.startsWith('-') ? -seconds : seconds;
}

function momentText(iso: string): string {
  if (iso === INFINITY) return 'infinity';
  if (iso === MINUS_INFINITY) return '-infinity';
  const match = ISO_MOMENT.exec(iso);
  if (match === null) return iso;
  const year = Number(match[1]);
  if (year > LAST_YEAR) return 'infinity';
  if (year < FIRST_YEAR) return '-infinity';
  let days = daysOfDate(year, Number(match[2]), Number(match[3]));
  const micros = clockMicros(match[4] ?? '') - zoneSeconds(match[5]) * 1_000_000;
  const over = Math.floor(micros / DAY_MICROS);
  days += over;
  scratch.reset();
  const isBc = renderDate(scratch, days);
  scratch.byte(0x20);
  renderTime(scratch, micros - over * DAY_MICROS);
  scratch.ascii(isBc ? '+00 BC' : '+00');
  return scratch.take().toString('latin1');
}

function clockMicros(clock: string): number {
  const text = Buffer.from(clock.length === 5 ? `${clock}:00` : clock.slice(0, 15), 'latin1');
  return parseTime(text, 0, text.length) ? parsed.micros : 0;
}

const POSTGRES_TIME = /^(\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d(?::\d\d)?(?::\d\d)?)$/;

/** In UTC, so the zone it had is left to the exact header. */
export function zonedTimeForm(type: ConnectType): StringForm {
  return {
    kind: 'string',
    type,
    parse(text) {
      const match = POSTGRES_TIME.exec(text);
      if (match === null) return undefined;
      if (match[2] === '+00') return `${match[1]}Z`;
      const micros = clockMicros(match[1] ?? '') - zoneSeconds(match[2]) * 1_000_000;
      scratch.reset();
      renderTime(scratch, ((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS);
      return `${scratch.take().toString('latin1')}Z`;
    },
    render(iso) {
      const match = ISO_TIME.exec(iso);
      if (match === null) return iso;
      scratch.reset();
      renderTime(scratch, clockMicros(match[1] ?? ''));
      return scratch.take().toString('latin1') + (match[2] === 'Z' ? '+00' : match[2]!);
    },
  };
}
