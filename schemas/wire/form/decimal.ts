/**
 * numeric and money as unscaled integers. Guarantee: no digit is lost at any precision; NaN and ±infinity have no form here (Debezium's
 * precise mode has none) and are left to the exact header.
 */
import { SOURCE_TYPE, type ConnectType } from '../connect-type.ts';
import type { Slab } from '../slab.ts';
import type { BytesForm, ScaledForm } from './form.ts';

const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;

/** Digits that a number holds exactly with room to spare. */
const NUMBER_DIGITS = 15;

/** Two's complement, big endian, as short as it can be. */
export function writeUnscaled(out: Slab, value: bigint | number): void {
  if (typeof value === 'number') {
    writeSmall(out, value);
    return;
  }
  const negative = value < 0n;
  const magnitude = negative ? -value - 1n : value;
  let hex = magnitude.toString(16);
  if (hex.length % 2 === 1) hex = `0${hex}`;
  if (hex.charCodeAt(0) >= 0x38) hex = `00${hex}`; // the first bit is the sign's
  out.room(hex.length / 2);
  const at = out.pos;
  out.pos += out.buffer.write(hex, at, 'hex');
  if (negative) for (let p = at; p < out.pos; p++) out.buffer[p] = ~out.buffer[p]! & 0xff;
}

function writeSmall(out: Slab, value: number): void {
  out.room(8);
  let bytes = 1;
  for (let limit = 128; value >= limit || value < -limit; limit *= 256) bytes++;
  let rest = value;
  for (let p = out.pos + bytes - 1; p >= out.pos; p--) {
    const next = Math.floor(rest / 256);
    out.buffer[p] = rest - next * 256;
    rest = next;
  }
  out.pos += bytes;
}

export function readUnscaled(b: Buffer, from: number, to: number): bigint | number {
  if (to - from > 6) {
    const value = BigInt(`0x${b.toString('hex', from, to)}`);
    return b[from]! < 0x80 ? value : value - (1n << BigInt(8 * (to - from)));
  }
  if (from === to) return 0;
  let value = b[from]! < 0x80 ? b[from]! : b[from]! - 256;
  for (let p = from + 1; p < to; p++) value = value * 256 + b[p]!;
  return value;
}

/** Scale that the text shows; -1 when it is no plain decimal number. */
function scaleOf(b: Buffer, from: number, to: number): number {
  let point = -1;
  const start = b[from] === MINUS ? from + 1 : from;
  if (start === to) return -1;
  for (let p = start; p < to; p++) {
    const c = b[p]!;
    if (c === DOT && point < 0) point = p;
    else if (c < ZERO || c > 0x39) return -1;
  }
  return point < 0 ? 0 : to - point - 1;
}

function unscaledOf(b: Buffer, from: number, to: number): number | bigint {
  if (to - from > NUMBER_DIGITS) return BigInt(b.toString('latin1', from, to).replace('.', ''));
  let value = 0;
  for (let p = from; p < to; p++) {
    const digit = b[p]! - ZERO;
    if (digit >= 0) value = value * 10 + digit;
  }
  return b[from] === MINUS ? -value : value;
}

/** A number of this scale, as PostgreSQL writes it; a negative scale stands for zeros at the end. */
export function decimalText(unscaled: bigint | number, scale: number): string {
  const text = String(unscaled);
  if (scale === 0 || unscaled === 0 || unscaled === 0n) return scale > 0 ? `0.${'0'.repeat(scale)}` : text;
  if (scale < 0) return text + '0'.repeat(-scale);
  const sign = text.startsWith('-') ? '-' : '';
  const digits = text.slice(sign.length).padStart(scale + 1, '0');
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Fixed scale: numeric(p,s), money. */
export function decimalForm(type: ConnectType): BytesForm {
  const scale = Number(type.parameters?.['scale'] ?? 0);
  if (type.parameters?.[SOURCE_TYPE] === 'MONEY') return moneyForm(type, scale);
  return {
    kind: 'bytes',
    type,
    strict: false,
    parse(b, from, to, out) {
      const shown = scaleOf(b, from, to);
      if (shown < 0) return false;
      const unscaled = unscaledOf(b, from, to);
      writeUnscaled(out, shown === scale ? unscaled : rescale(BigInt(unscaled), shown, scale));
      return true;
    },
    render: (out, b, from, to) => out.ascii(decimalText(readUnscaled(b, from, to), scale)),
  };
}

function rescale(unscaled: bigint, from: number, to: number): bigint {
  return to > from ? unscaled * 10n ** BigInt(to - from) : unscaled / 10n ** BigInt(from - to);
}

/** $1,234.56: money under lc_monetary = C. */
function moneyForm(type: ConnectType, scale: number): BytesForm {
  return {
    kind: 'bytes',
    type,
    strict: false,
    parse(b, from, to, out) {
      const plain = b.toString('latin1', from, to).replaceAll(/[$,]/g, '');
      if (!/^-?\d+\.\d+$/.test(plain)) return false;
      writeUnscaled(out, rescale(BigInt(plain.replace('.', '')), plain.length - plain.indexOf('.') - 1, scale));
      return true;
    },
    render(out, b, from, to) {
      const text = decimalText(readUnscaled(b, from, to), scale);
      const sign = text.startsWith('-') ? '-' : '';
      const [whole = '', fraction = ''] = text.slice(sign.length).split('.');
      out.ascii(`${sign}$${whole.replaceAll(/\B(?=(\d{3})+$)/g, ',')}.${fraction}`);
    },
  };
}

const PLAIN = /^-?\d+(?:\.\d+)?$/;

/** numeric without a scale: each value brings its own. */
export function scaledForm(type: ConnectType): ScaledForm {
  return {
    kind: 'scaled',
    type,
    parse(text) {
      if (!PLAIN.test(text)) return undefined;
      const point = text.indexOf('.');
      return { scale: point < 0 ? 0 : text.length - point - 1, unscaled: BigInt(text.replace('.', '')) };
    },
    render: (scale, unscaled) => decimalText(unscaled, scale),
  };
}
