/**
 * What a target column would silently round or drop. Guarantee: a computed value has no more digits than its column keeps, a zone where the
 * column needs one and only there, no time of day for a date, and no word for the time at which it happens to be read; PostgreSQL rounds, drops and guesses without a word where text is read
 * as numeric(p,s), a timestamp or a date, and refuses by itself what does not fit otherwise.
 */
import type { CatalogColumn } from '#schemas/table.ts';
import { numericSize } from '../type-modifier.ts';
import { underDomain } from '../type-fit.ts';
import { fitsScale, parseDecimal } from './decimal.ts';
import { StepRefusal } from './step.ts';

/** Digits behind the point that the column keeps, of a number or of a second. */
export interface TargetForm {
  readonly kind: 'any' | 'number' | 'seconds' | 'timestamp' | 'timestamptz' | 'date';
  readonly digits: number;
}

const SECONDS: Readonly<Record<string, TargetForm['kind']>> = {
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  time: 'seconds',
  timetz: 'seconds',
};
/** Microseconds, where the column says nothing. */
const DIGITS_MAX = 6;
const ANY: TargetForm = { kind: 'any', digits: 0 };

export function formOf(target: CatalogColumn): TargetForm {
  const { typeName = '', typmod, elementOid, builtin } = underDomain(target);
  if (elementOid !== 0 || !builtin) return ANY;
  if (typeName === 'numeric') return typmod < 0 ? ANY : { kind: 'number', digits: numericSize(typmod)?.scale ?? 0 };
  if (typeName === 'date') return { kind: 'date', digits: 0 };
  const kind = Object.hasOwn(SECONDS, typeName) ? SECONDS[typeName] : undefined;
  return kind === undefined ? ANY : { kind, digits: typmod < 0 ? DIGITS_MAX : typmod };
}

const FRACTION = /:\d{2}\.(\d+?)0*(?:[^\d]|$)/;

/** What fits `given` fits the column, too. */
export function coveredBy({ kind, digits }: TargetForm, given: TargetForm | undefined): boolean {
  return kind === 'any' || (given?.kind === kind && given.digits <= digits);
}

/** @returns what refuses a value. */
export function targetForm({ kind, digits }: TargetForm): (value: string) => void {
  if (kind === 'any') return () => undefined;
  return (value) => {
    if (!fits(value, kind, digits)) throw new StepRefusal(`the value has ${tooManyDigits(digits)}, which the column would round`);
    const wrong = wrongTime(value, kind);
    if (wrong !== undefined) throw new StepRefusal(wrong);
  };
}

function tooManyDigits(digits: number): string {
  return digits < 0 ? `a digit other than 0 in its last ${-digits} places before the point` : `more than ${digits} digits behind the point`;
}

const CLOCK = /\d{1,2}:\d{2}(?::\d{2}(?:\.\d*)?)?|T\d{4,6}(?:\.\d*)?/;
/** What may stand behind the time of day and is no zone. */
const NO_ZONE = /\b(?:[AP]M|BC|AD|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b/gi;
const ZONE = /[+-]\d|[a-z]/i;
const DATE_ZONE = /^\d{4,7}-\d{2}-\d{2} ?(?:Z|UTC|GMT|[+-]\d)/i;
/** The same moment, or the same day, in every zone. */
const ENDLESS: ReadonlySet<string> = new Set(['infinity', '-infinity', 'epoch']);

/** Words that PostgreSQL reads as the time at which it reads them. */
const MOVING = /\b(?:now|today|tomorrow|yesterday)\b/i;

function wrongTime(value: string, kind: TargetForm['kind']): string | undefined {
  if (kind !== 'number' && MOVING.test(value)) return 'the value means another time whenever it is read';
  if (kind === 'number' || kind === 'seconds' || ENDLESS.has(value.trim())) return undefined;
  const clock = CLOCK.exec(value);
  const hasZone = clock === null ? DATE_ZONE.test(value) : showsZone(value.slice(clock.index + clock[0].length));
  if (kind === 'timestamptz') return hasZone ? undefined : 'the value has no zone, and the column would take that of the session';
  if (hasZone) return 'the value has a zone, which the column would drop';
  return kind === 'date' && clock !== null ? 'the value has a time of day, which the column would drop' : undefined;
}

/** Of what stands behind the time of day. */
function showsZone(rest: string): boolean {
  return rest !== '' && ZONE.test(rest.replaceAll(NO_ZONE, ''));
}

function fits(value: string, kind: TargetForm['kind'], digits: number): boolean {
  if (kind !== 'number') return (FRACTION.exec(value)?.[1]?.length ?? 0) <= digits;
  const number = parseDecimal(value.trim());
  // What is no number is the server's to refuse.
  return number === undefined || fitsScale(number, digits);
}
