/**
 * What a target column would silently round. Guarantee: a computed value has no more digits than its column keeps; PostgreSQL rounds
 * them off without a word where text is read as numeric(p,s) or timestamp(p), and refuses by itself what does not fit otherwise.
 */
import type { CatalogColumn } from '#schemas/table.ts';
import { numericSize } from '../type-modifier.ts';
import { underDomain } from '../type-fit.ts';
import { fitsScale, parseDecimal } from './decimal.ts';
import { StepRefusal, type Value } from './step.ts';

/** Digits behind the point that the column keeps, of a number or of a second; absent = all. */
export interface TargetForm {
  readonly kind: 'any' | 'number' | 'seconds';
  readonly digits: number;
}

const SECONDS: ReadonlySet<string> = new Set(['timestamp', 'timestamptz', 'time', 'timetz']);

export function formOf(target: CatalogColumn): TargetForm {
  const { typeName = '', typmod, elementOid } = underDomain(target);
  if (elementOid !== 0 || typmod < 0) return { kind: 'any', digits: 0 };
  if (typeName === 'numeric') return { kind: 'number', digits: numericSize(typmod)?.scale ?? 0 };
  if (SECONDS.has(typeName)) return { kind: 'seconds', digits: typmod };
  return { kind: 'any', digits: 0 };
}

const FRACTION = /:\d{2}\.(\d+?)0*(?:[^\d]|$)/;

export function targetForm({ kind, digits }: TargetForm): (value: Value) => Value {
  if (kind === 'any') return (value) => value;
  return (value) => {
    if (value !== null && !fits(value, kind, digits))
      throw new StepRefusal(`the value has more than ${digits} digits behind the point, which the column would round`);
    return value;
  };
}

function fits(value: string, kind: TargetForm['kind'], digits: number): boolean {
  if (kind === 'seconds') return (FRACTION.exec(value)?.[1]?.length ?? 0) <= digits;
  const number = parseDecimal(value.trim());
  // What is no number is the server's to refuse.
  return number === undefined || (digits < 0 ? number.digits % 10n ** BigInt(number.scale - digits) === 0n : fitsScale(number, digits));
}
