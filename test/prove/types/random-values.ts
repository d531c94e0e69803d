/**
 * Random values as PostgreSQL literals. Guarantee: every choice comes from the Random given, so a seed repeats a run; what is returned is
 * the text that a type's input function takes, not yet quoted for SQL.
 */
import type { Random } from '#test/support/random.ts';

export type Make = (random: Random) => string;

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[random.between(0, from.length - 1)]!;
}

/** One of the given texts. */
export function oneOf(...texts: readonly string[]): Make {
  return (random) => pick(random, texts);
}

/** Edges now and then, else `make`. */
export function mostly(make: Make, ...edges: readonly string[]): Make {
  return (random) => (random.chance(0.25) ? pick(random, edges) : make(random));
}

export function many(random: Random, most: number, make: Make): string[] {
  return Array.from({ length: random.between(0, most) }, () => make(random));
}

/** Whole number of up to `digits` digits, as text: it may be far above 2^53. */
export function digits(random: Random, most: number): string {
  let text = String(random.between(1, 9));
  for (let i = random.between(0, most - 1); i > 0; i--) text += random.between(0, 9);
  return text;
}

export function hex(random: Random, bytes: number): string {
  let text = '';
  for (let i = 0; i < bytes; i++) text += random.between(0, 255).toString(16).padStart(2, '0');
  return text;
}

export function whole(random: Random, least: bigint, most: bigint): string {
  const span = most - least + 1n;
  const drawn = BigInt(`0x${hex(random, 9)}`) % span;
  return String(least + drawn);
}

export function pad(value: number, length: number): string {
  return String(value).padStart(length, '0');
}

/** What has broken COPY, arrays, records, JSON, JavaScript or a terminal before. */
const PIECES: readonly string[] = [
  'plain', 'two words', ' ', '  ', '\t', '\n', '\r', '\r\n', '\b', '\f', '\v', '\\', '\\\\', '\\N', '\\.', '\\n', '\\t', '\\x41', '\\001',
  "'", "''", '"', '""', '`', '{', '}', '{}', '[', ']', '(', ')', '()', ',', ';', ':', '=>', '|', '&', '%s', '%', '$1', '$$', '$&', '--', '/*',
  'NULL', 'null', 'undefined', 'NaN', '0', '-0', 'true', '<a/>', '&amp;', '\u0001', '\u001b[31m', '\u007f', '\u0080', '\u0085', '\u00a0',
  'é', 'e\u0301', 'ß', 'İ', 'ǆ', '日本', '\u2028', '\u200b', '\u202e', 'שלום', 'مرحبا', '\ufeff', '\ufffd', '\uffff', '😀', '👩‍👩‍👧', '𝒳', '\u{10ffff}',
]; // prettier-ignore

export function awkwardText(mostPieces = 6): Make {
  return (random) => {
    if (random.chance(0.06)) return '';
    let text = pick(random, PIECES);
    for (let i = random.between(0, mostPieces - 1); i > 0; i--) text += pick(random, PIECES);
    return text;
  };
}

/** At most `most` characters as PostgreSQL counts them. */
export function awkwardTextOf(most: number): Make {
  const make = awkwardText();
  return (random) => [...make(random)].slice(0, most).join('');
}

/** At most `most` bytes, cut between characters. */
export function awkwardBytesOf(most: number): Make {
  const make = awkwardText();
  return (random) => {
    let text = '';
    for (const character of make(random)) {
      if (Buffer.byteLength(text + character) > most) break;
      text += character;
    }
    return text;
  };
}

/** More than 100 kB now and then: some that TOAST compresses, some that it cannot. */
export function longText(chance: number): Make {
  const make = awkwardText(20);
  return (random) => {
    if (!random.chance(chance)) return make(random);
    if (random.chance(0.5)) return `${make(random)}${'crossfade \\ \t'.repeat(random.between(9_000, 12_000))}`;
    return hex(random, 55_000);
  };
}

const FLOAT8_EDGES: readonly string[] = [
  'NaN', 'Infinity', '-Infinity', '0', '-0', '5e-324', '-5e-324', '2.2250738585072014e-308', '2.225073858507201e-308',
  '1.7976931348623157e308', '-1.7976931348623157e308', '0.1', '0.30000000000000004', '9007199254740993', '1e15', '1e16', '1e-5', '123456789.123456789',
]; // prettier-ignore

const FLOAT4_EDGES: readonly string[] = [
  'NaN', 'Infinity', '-Infinity', '0', '-0', '1e-45', '-1e-45', '1.17549435e-38', '3.4028235e38', '0.1', '16777217', '1e6', '1e-5', '8388608.5',
]; // prettier-ignore

function scientific(mostExponent: number): Make {
  return (random) =>
    `${random.chance(0.5) ? '-' : ''}${random.between(0, 9)}.${digits(random, 17)}e${random.between(-mostExponent, mostExponent)}`;
}

export const float8: Make = mostly(scientific(300), ...FLOAT8_EDGES);
export const float4: Make = mostly(scientific(36), ...FLOAT4_EDGES);
/** Where infinities and NaN are no input. */
export const finite: Make = mostly(scientific(30), '0', '-0', '1', '-1.5', '1e-300', '1e300');

export const numeric: Make = mostly(
  (random) => {
    const fraction = random.chance(0.6) ? `.${digits(random, 30)}${'0'.repeat(random.between(0, 3))}` : '';
    return `${random.chance(0.5) ? '-' : ''}${random.chance(0.2) ? '0' : digits(random, 30)}${fraction}`;
  },
  'NaN', 'Infinity', '-Infinity', '0', '0.0', '0.000', '-0', '1e1000', '-1e-1000', '1e-16383', '9.99', '10', '10.0', '10.00',
); // prettier-ignore

/** With at most so many digits before and behind the point; `scale` may be negative. */
export function numericOf(precision: number, scale: number): Make {
  return (random) => {
    const left = precision - scale;
    const before = left > 0 && random.chance(0.9) ? digits(random, Math.max(1, left - 1)) : '0';
    const after = scale > 0 ? `.${'0'.repeat(Math.max(0, scale - precision))}${hexDigits(random, Math.min(precision, scale) - 1)}` : '';
    return random.chance(0.05) ? 'NaN' : `${random.chance(0.5) ? '-' : ''}${before}${after === '.' ? '' : after}`;
  };
}

function hexDigits(random: Random, most: number): string {
  return Array.from({ length: random.between(0, most) }, () => random.between(0, 9)).join('') || '0';
}

export const quoted = {
  array: (value: string): string => `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`,
  record: (value: string): string => `"${value.replaceAll(/["\\]/g, '$&$&')}"`,
};

/** Arrays of one to three dimensions, with NULLs, empty ones, and bounds that do not begin at 1. */
export function arrayOf(make: Make, options: { readonly delimiter?: string; readonly nulls?: boolean } = {}): Make {
  const delimiter = options.delimiter ?? ',';
  const element: Make = (random) => (options.nulls !== false && random.chance(0.15) ? 'NULL' : quoted.array(make(random)));
  const level = (random: Random, sizes: readonly number[]): string => {
    const [size = 0, ...inner] = sizes;
    const items = Array.from({ length: size }, () => (inner.length > 0 ? level(random, inner) : element(random)));
    return `{${items.join(delimiter)}}`;
  };
  return (random) => {
    if (random.chance(0.1)) return '{}';
    const sizes = Array.from({ length: random.chance(0.7) ? 1 : random.between(2, 3) }, () => random.between(1, 3));
    const bounds = random.chance(0.15)
      ? `${sizes
          .map((size) => {
            const low = random.between(-2, 3);
            return `[${low}:${low + size - 1}]`;
          })
          .join('')}=`
      : '';
    return bounds + level(random, sizes);
  };
}

/** `null` stands for a field that is NULL. */
export function record(...fields: readonly (Make | null)[]): Make {
  return (random) => `(${fields.map((make) => (make === null || random.chance(0.1) ? '' : quoted.record(make(random)))).join(',')})`;
}

/** `order` says which of two bounds comes first; ranges that PostgreSQL finds empty or normalises are welcome. */
export function rangeOf(make: Make, order: (a: string, b: string) => number): Make {
  return (random) => {
    if (random.chance(0.08)) return 'empty';
    const [low = '', high = ''] = [make(random), make(random)].toSorted(order);
    const bound = (value: string): string => (random.chance(0.15) ? '' : quoted.record(value));
    return `${pick(random, ['[', '('])}${bound(low)},${bound(high)}${pick(random, [']', ')'])}`;
  };
}

export function multirangeOf(range: Make): Make {
  return (random) => `{${many(random, 3, range).join(',')}}`;
}
