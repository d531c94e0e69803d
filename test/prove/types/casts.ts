/**
 * Pairs of types with a cast, declared in the file or taken by itself. Guarantee: `oracle` is what PostgreSQL gives for the column cast by
 * hand, written here without the product's own SQL.
 */
import { quoteIdent } from '#schemas/table.ts';
import { json, uuid } from './builtin-kinds.ts';
import { EXTENSION_SCHEMA, MOODS } from './made-kinds.ts';
import {
  arrayOf,
  awkwardText,
  awkwardTextOf,
  digits,
  float4,
  hex,
  type Make,
  mostly,
  numericOf,
  oneOf,
  pick,
  whole,
} from './random-values.ts';

export interface CastPair {
  readonly from: string;
  readonly to: string;
  readonly make: Make;
  /** Between timestamp and timestamptz. */
  readonly zone?: string;
  /** True: the file says nothing, the pair fits by itself. */
  readonly silent?: true;
}

const small: Make = (random) => String(random.between(-999, 999));
const anyInt4: Make = mostly((random) => whole(random, -2147483648n, 2147483647n), '2147483647', '-2147483648', '0');
const text = awkwardText();
const mood = oneOf(...MOODS);
const jsonText = json(true);
const fraction = numericOf(9, 4);
const finiteFraction: Make = (random) => fraction(random).replace('NaN', '0.5');

/** Local times around the changes of Berlin's and New York's clocks: some happen twice, some never. */
const local: Make = mostly(
  (random) => `${random.between(1890, 2040)}-0${random.between(1, 9)}-1${random.between(0, 9)} 0${random.between(0, 9)}:30:00.${digits(random, 6)}`,
  '2024-03-31 01:59:59.999999', '2024-03-31 02:00:00', '2024-03-31 02:30:00', '2024-03-31 03:00:00', '2024-10-27 01:59:59', '2024-10-27 02:00:00', '2024-10-27 02:30:00',
  '2024-10-27 03:00:00', '2024-03-10 02:30:00', '2024-11-03 01:30:00', '1945-05-24 02:30:00', '1893-03-31 23:58:00', 'infinity', '-infinity', '0044-03-15 12:00:00 BC',
); // prettier-ignore
const zoned: Make = (random) => {
  const base = local(random);
  return base.includes('infinity') ? base : base.replace(/( BC)?$/, `${pick(random, ['+00', '+01', '+02', '-05'])}$1`);
};

const mail = `${EXTENSION_SCHEMA}.citext`;

export const CAST_PAIRS: readonly CastPair[] = [
  { from: 'smallint', to: 'integer', make: small, silent: true },
  { from: 'integer', to: 'bigint', make: anyInt4, silent: true },
  { from: 'integer', to: 'numeric(12,2)', make: anyInt4, silent: true },
  { from: 'real', to: 'double precision', make: float4, silent: true },
  { from: 'varchar(20)', to: 'text', make: awkwardTextOf(20), silent: true },
  { from: 'numeric(9,4)', to: 'numeric(12,6)', make: fraction, silent: true },
  { from: 'cidr', to: 'inet', make: oneOf('10.0.0.0/8', '1.2.3.4/32', '::/0', '::1/128'), silent: true },
  { from: 'timestamp(0)', to: 'timestamp', make: local, silent: true },
  { from: 'integer[]', to: 'bigint[]', make: arrayOf(anyInt4), silent: true },
  { from: 'varchar(20)[]', to: 'text[]', make: arrayOf(awkwardTextOf(20)), silent: true },
  { from: 'bigint', to: 'integer', make: anyInt4 },
  { from: 'numeric(9,4)', to: 'numeric(9,2)', make: mostly(fraction, '0.005', '-0.005', '2.675', '1.0050') },
  { from: 'numeric', to: 'integer', make: mostly(finiteFraction, '0.5', '1.5', '2.5', '-0.5') },
  { from: 'double precision', to: 'integer', make: mostly(finiteFraction, '0.5', '1.5', '2.5', '-2.5') },
  { from: 'double precision', to: 'numeric', make: mostly(finiteFraction, '0.1', '1e-300', '1.7976931348623157e308', '0.30000000000000004', 'NaN', 'Infinity') },
  { from: 'double precision', to: 'real', make: mostly(finiteFraction, '0.1', '16777217', '-0') },
  { from: 'real', to: 'numeric', make: mostly(finiteFraction, '0.1', '16777216') },
  { from: 'numeric(12,2)', to: 'money', make: (random) => numericOf(12, 2)(random).replace('NaN', '1') },
  { from: 'money', to: 'numeric(14,2)', make: (random) => numericOf(12, 2)(random).replace('NaN', '1') },
  { from: 'integer', to: 'text', make: anyInt4 },
  { from: 'boolean', to: 'text', make: oneOf('t', 'f') },
  { from: 'boolean', to: 'integer', make: oneOf('t', 'f') },
  { from: 'integer', to: 'boolean', make: oneOf('0', '1', '-5') },
  { from: 'text', to: 'boolean', make: oneOf('t', 'no', 'off', '1', 'TRUE', ' y ') },
  { from: 'text', to: 'integer', make: mostly(anyInt4, ' 7 ', '+8', '-0') },
  { from: 'text', to: 'numeric(10,3)', make: mostly(finiteFraction, '1e3', ' 2.7185', '.5') },
  { from: 'text', to: 'jsonb', make: jsonText },
  { from: 'json', to: 'jsonb', make: jsonText },
  { from: 'jsonb', to: 'text', make: json(false) },
  { from: 'text', to: 'date', make: oneOf('2024-02-29', 'Feb 3 2024', '20240229', '2024.366', '01/02/03', 'epoch') },
  { from: 'text', to: 'timestamptz', make: oneOf('2024-02-29 12:00', '2024-02-29 12:00+05', '2024-10-27 02:30 Europe/Berlin', 'epoch') },
  { from: 'text', to: 'uuid', make: (random) => uuid(random).toUpperCase() },
  { from: 'uuid', to: 'text', make: uuid },
  { from: 'text', to: 'varchar(5)', make: text },
  { from: 'text', to: 'char(5)', make: text },
  { from: 'char(7)', to: 'text', make: awkwardTextOf(7) },
  { from: 'char(7)', to: 'varchar(3)', make: awkwardTextOf(7) },
  { from: 'varchar(30)', to: 'name', make: awkwardTextOf(30) },
  { from: 'text', to: '"char"', make: oneOf('a', 'bc', '') },
  { from: '"char"', to: 'integer', make: oneOf('a', '~') },
  { from: 'bytea', to: 'text', make: (random) => `\\x${hex(random, 4)}` },
  { from: 'text', to: 'bytea', make: oneOf('\\x00ff', 'a\\\\b', 'plain') },
  { from: 'inet', to: 'text', make: oneOf('1.2.3.4', '1.2.3.4/24', '::1') },
  { from: 'inet', to: 'cidr', make: oneOf('1.2.3.4', '1.2.3.4/24', '::1') },
  { from: 'bit(8)', to: 'integer', make: oneOf('10000001', '00000000') },
  { from: 'integer', to: 'bit(8)', make: small },
  { from: 'bit(8)', to: 'bit(4)', make: oneOf('10000001', '00001111') },
  { from: 'timestamptz', to: 'date', make: zoned },
  { from: 'timestamp', to: 'date', make: local },
  { from: 'timestamp', to: 'time', make: (random) => local(random).replace(/-?infinity/, '2024-01-01 24:00:00') },
  { from: 'timestamp', to: 'timestamp(0)', make: local },
  { from: 'date', to: 'timestamp', make: (random) => local(random).replace(/ \d\S*/, '') },
  { from: 'timestamptz', to: 'text', make: zoned },
  { from: 'interval', to: 'time', make: oneOf('25:00:00', '-1:00:00', '1 day 00:00:01.5') },
  { from: 'interval', to: 'text', make: oneOf('1 year -1 day +02:03:04.5', '-1 mon') },
  { from: 'timestamp', to: 'timestamptz', make: local, zone: 'Europe/Berlin' },
  { from: 'timestamp(0)', to: 'timestamptz(3)', make: local, zone: 'America/New_York' },
  { from: 'timestamptz', to: 'timestamp', make: zoned, zone: 'Asia/Kathmandu' },
  { from: 'timestamptz', to: 'timestamp(0)', make: zoned, zone: 'Europe/Berlin' },
  { from: 'app.mood', to: 'text', make: mood },
  { from: 'text', to: 'app.mood', make: mood },
  { from: 'app.mood[]', to: 'text[]', make: arrayOf(mood) },
  { from: 'app.address', to: 'text', make: oneOf('(a,b,2024-01-01 00:00:00+00,1.5)', '(,,,)', '("x ""y\\\\","",,)') },
  { from: 'app.short', to: 'text', make: awkwardTextOf(20) },
  { from: 'text', to: 'app.short', make: awkwardTextOf(20) },
  { from: 'text', to: mail, make: text },
  { from: mail, to: 'text', make: text },
  { from: `${EXTENSION_SCHEMA}.hstore`, to: 'text', make: oneOf('a=>1', '"x y"=>NULL') },
  { from: 'text[]', to: 'text', make: arrayOf(text) },
  { from: 'text', to: 'text[]', make: arrayOf(text) },
  { from: 'integer[]', to: 'text[]', make: arrayOf(anyInt4) },
  { from: 'numeric[]', to: 'integer[]', make: arrayOf(small) },
  { from: 'xml', to: 'text', make: oneOf('<a/>', 'x &amp; y', '<?xml version="1.1"?><a/>') },
  { from: 'int4range', to: 'text', make: oneOf('[1,5]', 'empty', '(,3)') },
  { from: 'point', to: 'text', make: oneOf('(1,2.5)', '(NaN,-0)') },
  { from: 'circle', to: 'box', make: oneOf('<(1,2),3>', '<(0,0),0>') },
  { from: 'oid', to: 'bigint', make: oneOf('0', '4294967295'), silent: true },
  { from: 'integer', to: 'oid', make: oneOf('0', '77', '2147483647') },
]; // prettier-ignore

export function columnName(pair: CastPair, i: number): string {
  return `c${i} ${pair.from} to ${pair.to}`.replaceAll('"', '').slice(0, 60);
}

/** What the target must hold, over the source's column. */
export function oracle(pair: CastPair, i: number): string {
  const column = `x.${quoteIdent(columnName(pair, i))}`;
  return pair.zone === undefined ? `(${column})::${pair.to}` : `(${column} at time zone '${pair.zone}')::${pair.to}`;
}

export function castsDdl(side: 'from' | 'to'): string {
  const columns = CAST_PAIRS.map((pair, i) => `${quoteIdent(columnName(pair, i))} ${pair[side]}`).join(', ');
  return `create table app.casts (id ${side === 'from' ? 'integer' : 'bigint'} primary key, code ${side === 'from' ? 'integer' : 'text'} not null unique, ${columns})`;
}

/** The table's entry in the migration file; JSON is YAML. */
export function castsEntry(): string {
  const columns = CAST_PAIRS.flatMap((pair, i) => {
    if (pair.silent) return [];
    return [[columnName(pair, i), pair.zone === undefined ? { cast: pair.to } : { zone: pair.zone }] as const];
  });
  return JSON.stringify({ from: 'app.casts', columns: Object.fromEntries([...columns, ['code', { cast: 'text' }]]) });
}
