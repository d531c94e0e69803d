/**
 * Which texts are values of a type. Guarantee: what passes is a value that PostgreSQL reads the same way, in the type's own spelling;
 * what PostgreSQL would round, cut or guess at is an error, which the policy decides.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { parseTypeName, type TypeName } from '../type-name.ts';
import { decimalText, fitsScale, parseDecimal, rescale } from './decimal.ts';
import { doubleText, realText } from './float-text.ts';
import { isJson, isJsonb } from './json-text.ts';
import { onText, StepFault, StepRefusal, type Step } from './step.ts';
import { DAY_MICROS, parseTimestamp, timestampText } from './timestamp-text.ts';

/** Undefined: no value of the type. */
type Reader = (text: string) => string | undefined;

export function castStep({ to, onError }: NonNullable<StepBlock['cast']>): Step {
  const type = parseTypeName(to);
  const reader = type === undefined ? undefined : readerOf(type);
  if (reader === undefined) {
    throw new StepFault(`a step cannot cast to ${type === undefined ? 'this' : to}`, `It casts to ${Object.keys(READERS).join(', ')}.`);
  }
  if (typeof onError === 'object' && reader(onError.value) === undefined) throw new StepFault(`the value of onError is no ${to} either`);
  const trims = !KEEPS_BLANKS.has(type!.base);
  return onText((text) => {
    const value = reader(trims ? withoutBlanks(text) : text);
    if (value !== undefined) return value;
    if (onError === 'null') return null;
    if (onError !== 'fail') return onError.value;
    throw new StepRefusal(`the value is no ${to}`);
  });
}

/** PostgreSQL reads these without taking blanks off, or with blanks of JSON's own. */
const KEEPS_BLANKS: ReadonlySet<string> = new Set(['uuid', 'json', 'jsonb']);
/** What PostgreSQL skips around a value: fewer than Unicode has. */
const BLANK: ReadonlySet<string | undefined> = new Set([' ', '\t', '\n', '\v', '\f', '\r']);

function withoutBlanks(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && BLANK.has(text[start])) start++;
  while (start < end && BLANK.has(text[end - 1])) end--;
  return text.slice(start, end);
}

function readerOf({ base, modifiers, array }: TypeName): Reader | undefined {
  if (array || !Object.hasOwn(READERS, base)) return undefined;
  const [precision, scale = 0] = modifiers;
  if (precision === undefined) return READERS[base];
  if (base !== 'numeric' || precision < 1 || precision > DIGITS_MAX || Math.abs(scale) > DIGITS_MAX) return undefined;
  return numeric(precision, scale);
}

/** PostgreSQL's own bound of precision and scale. */
const DIGITS_MAX = 1000;

function numeric(precision: number, scale: number): Reader {
  const above = 10n ** BigInt(precision);
  return (text) => {
    const value = parseDecimal(text);
    if (value === undefined || !fitsScale(value, scale)) return text === 'NaN' ? text : undefined;
    const exact = rescale(value, scale, undefined);
    return exact.digits < above && -exact.digits < above ? decimalText(exact) : undefined;
  };
}

function whole(bits: bigint): Reader {
  const max = (1n << (bits - 1n)) - 1n;
  return (text) => {
    if (!/^[+-]?\d{1,40}$/.test(text)) return undefined;
    const value = BigInt(text.replace('+', ''));
    return value <= max && value >= -max - 1n ? String(value) : undefined;
  };
}

const TRUE: ReadonlySet<string> = new Set(['t', 'true', 'y', 'yes', 'on', '1']);
const FALSE: ReadonlySet<string> = new Set(['f', 'false', 'n', 'no', 'off', '0']);
/** A hyphen may stand behind any four digits. */
const UUID = /^(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}$/i;

function uuid(text: string): string | undefined {
  const bare = text.startsWith('{') && text.endsWith('}') ? text.slice(1, -1) : text;
  if (!UUID.test(bare)) return undefined;
  const digits = bare.replaceAll('-', '').toLowerCase();
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-${digits.slice(12, 16)}-${digits.slice(16, 20)}-${digits.slice(20)}`;
}

/** Days since 1970 of the first and behind the last moment that PostgreSQL knows: from 4714-11-24 BC, where the Julian days begin. */
const TIMESTAMP_DAYS = [-2_440_588, 106_762_940] as const;
const DATE_DAYS = [-2_440_588, 2_145_042_906] as const;

function within(days: number, [first, end]: readonly [number, number]): boolean {
  return days >= first && days < end;
}

function timestamp(withZone: boolean): Reader {
  return (text) => {
    if (text === 'infinity' || text === '-infinity') return text;
    const parsed = parseTimestamp(text);
    // Without a zone of its own the server would lend it the session's.
    if (parsed === undefined || (parsed.offsetSeconds === undefined) === withZone) return undefined;
    const micros = parsed.micros - (parsed.offsetSeconds ?? 0) * 1e6;
    if (!within(parsed.days + Math.floor(micros / DAY_MICROS), TIMESTAMP_DAYS)) return undefined;
    return withZone ? text : timestampText(parsed.days, parsed.micros);
  };
}

function date(text: string): string | undefined {
  if (text === 'infinity' || text === '-infinity') return text;
  const parsed = /^\d{4,7}-\d{2}-\d{2}(?: BC)?$/.test(text) ? parseTimestamp(text) : undefined;
  return parsed === undefined || !within(parsed.days, DATE_DAYS) ? undefined : text;
}

const READERS: Readonly<Record<string, Reader>> = {
  smallint: whole(16n),
  integer: whole(32n),
  bigint: whole(64n),
  numeric: (text) => {
    const value = parseDecimal(text);
    return value === undefined ? (text === 'NaN' ? text : undefined) : decimalText(value);
  },
  boolean: (text) => (TRUE.has(text.toLowerCase()) ? 't' : FALSE.has(text.toLowerCase()) ? 'f' : undefined),
  date,
  'timestamp without time zone': timestamp(false),
  'timestamp with time zone': timestamp(true),
  'double precision': doubleText,
  real: realText,
  uuid,
  json: (text) => (isJson(text) ? text : undefined),
  jsonb: (text) => (isJsonb(text) ? text : undefined),
};
