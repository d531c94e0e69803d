/** Types that users and extensions make: contrib types, domains, composites, enums, ranges, under names that need quoting. */
import type { Random } from '#test/support/random.ts';
import { json } from './builtin-kinds.ts';
import {
  awkwardText,
  digits,
  finite,
  hex,
  type Make,
  many,
  mostly,
  numeric,
  numericOf,
  oneOf,
  pick,
  quoted,
  rangeOf,
  record,
  arrayOf,
} from './random-values.ts';
import { byNumber, type TypeKind, withMultiranges } from './type-kind.ts';

/** Extensions live in a schema of their own, which no search_path of ours names. */
export const EXTENSION_SCHEMA = '"Ext Ünd"';

const EXTENSIONS: readonly string[] = ['hstore', 'citext', 'ltree', 'cube', 'seg', 'isn', 'intarray', 'lo'];

export const MOODS: readonly string[] = ['sad', 'ok', 'a b', 'A', '', '"', "'", '\\', ',', '{}', '(x)', 'NULL', 'ünï', '😀', 'tab\there'];

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export const MADE_TYPES: string = [
  `create schema app; create schema ${EXTENSION_SCHEMA}`,
  ...EXTENSIONS.map((name) => `create extension ${name} schema ${EXTENSION_SCHEMA}`),
  `create type app.mood as enum (${MOODS.map(literal).join(', ')})`,
  `create type app."My Enum" as enum ('one', 'Two')`,
  'create view app.part as select 1 as a',
  `create domain app.short as text check (length(value) < 40)`,
  'create domain app.shorter as app.short check (length(value) < 30)',
  'create domain app.counted as integer not null default 0',
  'create domain app.price as numeric(12,3) check (value > -1e9)',
  'create domain app.list as integer[] check (cardinality(value) < 100)',
  `create collation app.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
  'create domain app.nocase_text as text collate app.nocase',
  `create domain app.mail as ${EXTENSION_SCHEMA}.citext`,
  'create type app.address as (street text, "house No" varchar(30), at timestamptz(3), price numeric(10,3))',
  `create type app.person as (name app.short, home app.address, others app.address[], mood app.mood, tags ${EXTENSION_SCHEMA}.hstore, doc jsonb, bits bytea)`,
  'create type app.nothing as ()',
  'create domain app.home as app.address check ((value).street is null or length((value).street) < 200)',
  'create type app.floatrange as range (subtype = float8, subtype_diff = float8mi)',
  'create type app.textrange as range (subtype = text, collation = "C")',
  'create type app.moodrange as range (subtype = app.mood)',
  'create type app.pricerange as range (subtype = app.price)',
].join(';\n');

const short = (random: Random): string => [...awkwardText(4)(random)].slice(0, 25).join('');
const moment: Make = oneOf('2024-10-27 02:30:00+02', 'infinity', '0044-03-15 12:00:00+00 BC', '2024-02-29 23:59:59.999+00');
const mood: Make = oneOf(...MOODS);
export const address: Make = record(awkwardText(), short, moment, numericOf(10, 3));

const hstore: Make = (random) =>
  many(random, 4, (r) => `${hstoreText(short(r))}=>${r.chance(0.2) ? 'NULL' : hstoreText(awkwardText()(r))}`).join(',');
const hstoreText = (text: string): string => quoted.array(text);

const label: Make = oneOf('a', 'B', 'top', 'Top_1', 'x9', '0');
const ltree: Make = (random) => [label(random), ...many(random, 4, label)].join('.');
const cubeNumber: Make = mostly(finite, '0', '-0', '1e300');
const cube: Make = (random) => {
  const size = random.between(1, 4);
  const corner = (): string => `(${Array.from({ length: size }, () => cubeNumber(random)).join(',')})`;
  return random.chance(0.4) ? corner() : `${corner()},${corner()}`;
};
const seg: Make = (random) => {
  const a = random.between(-999, 999) / 100;
  return pick(random, [`${a}`, `${a} .. ${a + 5}`, `~${a}`, `<${a}`, `${a} ..`, `.. ${a}`, '1.0', '1.00', '2.50e3']);
};

/** EAN-13 with its check digit. */
function ean(prefix: string): Make {
  return (random) => {
    let text = prefix;
    while (text.length < 12) text += random.between(0, 9);
    const sum = [...text].reduce((total, digit, i) => total + Number(digit) * (i % 2 === 0 ? 1 : 3), 0);
    return text + String((10 - (sum % 10)) % 10);
  };
}

const BOUNDS: readonly TypeKind[] = withMultiranges([
  { name: 'floatrange', sql: 'app.floatrange', make: rangeOf(mostly(finite, 'Infinity', '-Infinity'), byNumber) },
  { name: 'textrange', sql: 'app.textrange', make: rangeOf(awkwardText(), (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))) },
  { name: 'moodrange', sql: 'app.moodrange', make: rangeOf(mood, (a, b) => MOODS.indexOf(a) - MOODS.indexOf(b)) },
  { name: 'pricerange', sql: 'app.pricerange', make: rangeOf((random) => `${random.between(-99, 99)}.${digits(random, 2)}`, byNumber) },
]);

const extension = (name: string): string => `${EXTENSION_SCHEMA}.${name}`;
const person: Make = record(short, address, arrayOf(address), mood, hstore, json(false), (random) => `\\x${hex(random, 5)}`);

export const MADE_KINDS: readonly TypeKind[] = [
  { name: 'hstore', sql: extension('hstore'), make: hstore },
  { name: 'citext', sql: extension('citext'), make: awkwardText() },
  { name: 'ltree', sql: extension('ltree'), make: ltree },
  { name: 'lquery', sql: extension('lquery'), make: oneOf('*.a.*', 'top.*{1,3}', '!B|c@*.x', '*', 'a*.b%') },
  { name: 'ltxtquery', sql: extension('ltxtquery'), make: oneOf('a & !b', "top* | x@", '(a | b) & c%') },
  { name: 'cube', sql: extension('cube'), make: cube },
  { name: 'seg', sql: extension('seg'), make: seg },
  { name: 'ean13', sql: extension('ean13'), make: ean('40') },
  { name: 'isbn13', sql: extension('isbn13'), make: ean('978') },
  { name: 'isbn', sql: extension('isbn'), make: ean('978') },
  { name: 'ismn13', sql: extension('ismn13'), make: ean('9790') },
  { name: 'ismn', sql: extension('ismn'), make: ean('9790') },
  { name: 'issn13', sql: extension('issn13'), make: ean('977') },
  { name: 'issn', sql: extension('issn'), make: ean('977') },
  { name: 'upc', sql: extension('upc'), make: ean('0') },
  { name: 'query_int', sql: extension('query_int'), make: oneOf('1', '1&(2|!3)', '!(1&2)|-5') },
  { name: 'lo', sql: extension('lo'), make: oneOf('0', '16384', '4294967295') },
  { name: 'mood', sql: 'app.mood', make: mood },
  { name: 'My "Enum"', sql: 'app."My Enum"', make: oneOf('one', 'Two') },
  { name: 'short', sql: 'app.short', make: short },
  { name: 'shorter', sql: 'app.shorter', make: short },
  { name: 'counted', sql: 'app.counted', make: (random) => String(random.between(-99, 99)), array: false, notNull: true },
  { name: 'price', sql: 'app.price', make: numericOf(9, 3) },
  { name: 'price_4_1', sql: 'numeric(4,1)', make: numericOf(4, 1) },
  { name: 'list', sql: 'app.list', make: arrayOf((random) => String(random.between(-9, 9))) },
  { name: 'mail', sql: 'app.mail', make: awkwardText() },
  { name: 'address', sql: 'app.address', make: address },
  { name: 'person', sql: 'app.person', make: person },
  { name: 'nothing', sql: 'app.nothing', make: oneOf('()') },
  { name: 'home', sql: 'app.home', make: address },
  { name: 'numeric_list', sql: 'numeric(10,2)', make: numericOf(10, 2) },
  { name: 'any numeric', sql: 'numeric', make: numeric },
  ...BOUNDS,
]; // prettier-ignore
