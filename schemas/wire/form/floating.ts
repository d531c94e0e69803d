/**
 * real and double precision. Guarantee: `render` writes the shortest digits that mean the value, spelled as PostgreSQL spells them; where
 * PostgreSQL's own algorithm picks other digits, comparing finds it.
 */
import type { ConnectType } from '../connect-type.ts';
import type { FloatForm } from './form.ts';

/** From this exponent on PostgreSQL writes an exponent: the digits that each type always holds. */
const SINGLE_DIGITS = 6;
const DOUBLE_DIGITS = 15;
/** Below it a real has fewer digits. */
const NORMAL_MIN = 2 ** -126;

function shortestSingle(value: number): string {
  for (let digits = Math.abs(value) < NORMAL_MIN ? 1 : SINGLE_DIGITS; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return Number(text).toExponential();
  }
  return Number(value.toPrecision(9)).toExponential();
}

/** `scientific` is JavaScript's: d.ddde±x. */
function spell(scientific: string, limit: number): string {
  const [mantissa = '', exponentText = ''] = scientific.split('e');
  const exponent = Number(exponentText);
  const sign = mantissa.startsWith('-') ? '-' : '';
  if (exponent < -4 || exponent >= limit) {
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  const digits = mantissa.slice(sign.length).replace('.', '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  if (digits.length <= exponent + 1) return sign + digits.padEnd(exponent + 1, '0');
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}

export function floatText(value: number, single: boolean): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  return single ? spell(shortestSingle(value), SINGLE_DIGITS) : spell(value.toExponential(), DOUBLE_DIGITS);
}

export function floatForm(type: ConnectType): FloatForm {
  const single = type.base === 'float32';
  return {
    kind: 'float',
    type,
    single,
    parse(b, from, to) {
      const text = b.toString('latin1', from, to);
      const value = Number(text);
      if (Number.isNaN(value) && text !== 'NaN') return undefined;
      return single ? Math.fround(value) : value;
    },
    render: (out, value) => out.ascii(floatText(value, single)),
  };
}
