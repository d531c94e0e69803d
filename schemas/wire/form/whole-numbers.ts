/** Integers, oid and booleans. Guarantee: only PostgreSQL's own spelling is taken (no sign, zero or blank too many), so it comes back as it was. */
import { SOURCE_TYPE, type ConnectType } from '../connect-type.ts';
import type { Slab } from '../slab.ts';
import type { BooleanForm, IntegerForm } from './form.ts';

const MINUS = 0x2d;
const ZERO = 0x30;
const INT64_MIN = -(1n << 63n);
const INT64_MAX = (1n << 63n) - 1n;

/** Undefined when it is not the shortest spelling of a 64-bit integer. */
export function parseInteger(b: Buffer, from: number, to: number): number | bigint | undefined {
  let i = from;
  const negative = b[i] === MINUS;
  if (negative) i++;
  const digits = to - i;
  if (digits < 1 || digits > 19 || (b[i] === ZERO && (digits > 1 || negative))) return undefined;
  let value = 0;
  const end = digits > 15 ? i + 15 : to;
  for (let p = i; p < end; p++) {
    const digit = b[p]! - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  if (digits <= 15) return negative ? -value : value;
  for (let p = end; p < to; p++) if (b[p]! < ZERO || b[p]! > 0x39) return undefined;
  const big = BigInt(b.toString('latin1', from, to));
  return big < INT64_MIN || big > INT64_MAX ? undefined : big;
}

export function renderInteger(out: Slab, value: number | bigint): void {
  if (typeof value === 'bigint') {
    out.ascii(String(value));
    return;
  }
  if (value < 0) {
    out.byte(MINUS);
    out.digits(-value, 1);
  } else out.digits(value, 1);
}

const LIMITS: Partial<Record<ConnectType['base'], number>> = { int8: 128, int16: 32_768, int32: 2_147_483_648 };

export function integerForm(type: ConnectType): IntegerForm {
  const limit = LIMITS[type.base];
  const parse =
    limit === undefined
      ? parseInteger
      : (b: Buffer, from: number, to: number): number | undefined => {
          const value = parseInteger(b, from, to);
          return typeof value === 'number' && value >= -limit && value < limit ? value : undefined;
        };
  return { kind: 'integer', type, strict: true, parse, render: renderInteger };
}

/** boolean, and bit(1), whose texts are 0 and 1. */
export function booleanForm(type: ConnectType): BooleanForm {
  const bit = type.parameters?.[SOURCE_TYPE] === 'BIT';
  const [yes, no] = bit ? [0x31, ZERO] : [0x74, 0x66];
  return {
    kind: 'boolean',
    type,
    parse: (b, from, to) => (to - from !== 1 ? undefined : b[from] === yes ? true : b[from] === no ? false : undefined),
    render: (out, value) => out.byte(value ? yes : no),
  };
}
