/**
 * Random values of a column, as PostgreSQL would print them. Guarantee: the same seed gives the same values; values that the file names for
 * the column (of a filter, of a map) come often, or hardly a row would pass.
 */
import type { CatalogColumn, CatalogType } from '#schemas/table.ts';
import type { TableMapping } from '../compiled-mapping.ts';
import { canonicalOf } from '../row-filter.ts';
import { stepName } from '../steps/build-step.ts';
import { decimalText } from '../steps/decimal.ts';
import { DAY_MICROS, timestampText } from '../steps/timestamp-text.ts';
import { numericSize } from '../type-modifier.ts';
import { underDomain } from '../type-fit.ts';

export interface SampleRandom {
  /** In [0, 1). */
  next(): number;
  /** Integer in [from, to]. */
  between(from: number, to: number): number;
}

/** mulberry32. */
export function seededRandom(seed: number): SampleRandom {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return { next, between: (from, to) => from + Math.floor(next() * (to - from + 1)) };
}

/** Values of the column that decide something under this mapping. */
export function filterValuesOf(column: CatalogColumn, { filter, steps }: TableMapping): readonly (string | null)[] {
  const filtered = (filter?.conditions ?? [])
    .filter((one) => one.column === column.name && one.op === 'in')
    .flatMap(({ values }) => values);
  if (filtered.length > 0) return filtered;
  const index = steps?.inputs.findIndex(({ name }) => name === column.name) ?? -1;
  const mapped = (steps?.computed ?? [])
    .filter(({ from }) => from.length === 1 && from[0] === index)
    .flatMap(({ steps: blocks }) => blocks.slice(0, 1));
  const canonical = canonicalOf(column);
  return mapped
    .filter((block) => stepName(block) === 'map')
    .flatMap(({ map }) => Object.keys(map!.values).map((key) => canonical?.(key) ?? key));
}

interface Sample {
  readonly random: SampleRandom;
  readonly types: readonly CatalogType[];
  readonly named: readonly (string | null)[];
}

const NULL_SHARE = 0.15;
const NAMED_SHARE = 0.9;

export function sampleValue(column: CatalogColumn, { random, types, named }: Sample): string | null {
  if (named.length > 0 && random.next() < NAMED_SHARE) return named[random.between(0, named.length - 1)]!;
  if (!column.notNull && random.next() < NULL_SHARE) return null;
  const plain = underDomain(column);
  const { labels = [] } = types.find(({ oid, kind }) => kind === 'e' && oid === plain.typeOid) ?? {};
  if (labels.length > 0) return labels[random.between(0, labels.length - 1)]!;
  const value = plain.elementOid === 0 && Object.hasOwn(MAKERS, plain.baseType) ? MAKERS[plain.baseType]!(random, plain) : text(random);
  return plain.typeName === 'bpchar' ? (canonicalOf(plain)?.(value.slice(0, 1)) ?? value) : value;
}

type Maker = (random: SampleRandom, column: CatalogColumn) => string;

function whole(bits: number): Maker {
  return (random) => {
    const max = (1n << BigInt(bits - 1)) - 1n;
    const edge = random.between(0, 9);
    if (edge === 0) return String(max);
    if (edge === 1) return String(-max - 1n);
    return String((BigInt(random.between(-1_000_000_000, 1_000_000_000)) * BigInt(random.between(1, 1_000_000_000))) % (max + 1n));
  };
}

const numeric: Maker = (random, { typmod }) => {
  const { precision, scale } = numericSize(typmod) ?? { precision: 20, scale: random.between(0, 6) };
  const length = random.between(1, precision);
  const digits = Array.from({ length }, () => random.between(0, 9)).join('');
  const sign = random.between(0, 1) === 0 ? 1n : -1n;
  return scale < 0 ? `${BigInt(digits) * 10n ** BigInt(-scale) * sign}` : decimalText({ digits: BigInt(digits) * sign, scale });
};

const timestamp: Maker = (random) => timestampText(random.between(-30_000, 40_000), random.between(0, DAY_MICROS / 1000 - 1) * 1000);

const LETTERS = ['a', 'Z', ' ', '0', '.', '-', "'", '"', '\\', 'é', 'ß', 'Ж', '漢', '😀', '\n'];
const TEXT_LENGTH_MAX = 12;

function text(random: SampleRandom): string {
  return Array.from({ length: random.between(0, TEXT_LENGTH_MAX) }, () => LETTERS[random.between(0, LETTERS.length - 1)]!).join('');
}

const MAKERS: Readonly<Record<string, Maker>> = {
  smallint: whole(16),
  integer: whole(32),
  bigint: whole(64),
  numeric,
  boolean: (random) => (random.between(0, 1) === 0 ? 't' : 'f'),
  date: (random) => timestampText(random.between(-30_000, 40_000), 0).slice(0, 10),
  'timestamp without time zone': timestamp,
  'timestamp with time zone': (random, column) => `${timestamp(random, column)}+00`,
  uuid: (random) =>
    Array.from({ length: 32 }, () => random.between(0, 15).toString(16))
      .join('')
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
  'double precision': (random) => String(random.between(-1_000_000, 1_000_000) / 64),
  real: (random) => String(random.between(-1_000_000, 1_000_000) / 64),
  json: (random) => JSON.stringify({ a: text(random) }),
  jsonb: (random) => JSON.stringify({ a: text(random) }),
  bytea: (random) => `\\x${random.between(0, 255).toString(16).padStart(2, '0')}`,
};
