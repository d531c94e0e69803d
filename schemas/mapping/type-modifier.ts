/** Modifiers of built-in types (pg_attribute.atttypmod): what they allow, and whether one holds all that another does. */
import type { Fit } from './type-fit.ts';

const SAME: Fit = { kind: 'same' };

/** Undefined: without modifier, any number. */
export function numericSize(typmod: number): { readonly precision: number; readonly scale: number } | undefined {
  if (typmod < 4) return undefined;
  const packed = typmod - 4;
  // Eleven bits with sign: PostgreSQL 15 allows numeric(3,-2).
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 };
}

/** Same type on both sides, perhaps with different modifiers. */
export function fitModifiers(name: string, source: number, target: number): Fit {
  if (source === target || target < 0) return SAME;
  switch (name) {
    case 'varchar':
    case 'varbit':
      return source >= 0 && source < target ? SAME : narrower('longer values would be cut');
    case 'bpchar':
      return source >= 0 && source < target ? { kind: 'convert' } : narrower('longer values would be cut');
    case 'numeric':
      return fitNumeric(source, target);
    case 'time':
    case 'timetz':
    case 'timestamp':
    case 'timestamptz':
      return (source < 0 ? 6 : source) <= target ? SAME : narrower('fractions of a second would be rounded');
    default:
      return narrower('their modifiers differ');
  }
}

function narrower(why: string): Fit {
  return { kind: 'no', why, advice: 'cast' };
}

function fitNumeric(source: number, target: number): Fit {
  const [from, to] = [numericSize(source), numericSize(target)];
  if (to === undefined) return SAME;
  if (from === undefined || from.scale > to.scale) return narrower('digits behind the point would be rounded');
  if (from.precision - from.scale > to.precision - to.scale) return narrower('larger numbers would not fit');
  // A greater scale prints more zeros.
  return from.scale === to.scale ? SAME : { kind: 'convert' };
}
