/**
 * Every built-in type that a column can have values of. Guarantee: `missingKinds` names what a server has and this list lacks, so a
 * new type of a new PostgreSQL cannot be forgotten.
 */
import { execute } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';
import { byNumber, type TypeKind, withMultiranges } from './type-kind.ts';
import { temporalKinds } from './temporal-kinds.ts';
import {
  awkwardBytesOf, awkwardText, awkwardTextOf, digits, finite, float4, float8, hex, longText, type Make, many, mostly, numeric,
  numericOf, oneOf, pick, rangeOf, whole,
} from './random-values.ts'; // prettier-ignore

const byInteger = (a: string, b: string): number => (BigInt(a) < BigInt(b) ? -1 : 1);

const int4: Make = mostly((random) => whole(random, -2147483648n, 2147483647n), '0', '-1', '2147483647', '-2147483648');
const int8: Make = mostly(
  (random) => whole(random, -(1n << 63n), (1n << 63n) - 1n),
  '0', '-1', '9223372036854775807', '-9223372036854775808', '9007199254740993', '-4503599627370497',
); // prettier-ignore
const smallInt4: Make = (random) => String(random.between(-1000, 1000));
const rangeNumeric: Make = (random) => `${random.between(-1000, 1000)}${random.chance(0.5) ? `.${digits(random, 5)}` : ''}`;

const NUMBERS: readonly TypeKind[] = [
  { name: 'bool', sql: 'boolean', make: oneOf('t', 'f') },
  { name: 'int2', sql: 'smallint', make: mostly((random) => whole(random, -32768n, 32767n), '-32768', '32767', '0') },
  { name: 'int4', sql: 'integer', make: int4 },
  { name: 'int8', sql: 'bigint', make: int8 },
  { name: 'float4', sql: 'real', make: float4 },
  { name: 'float8', sql: 'double precision', make: float8 },
  { name: 'numeric', sql: 'numeric', make: numeric },
  { name: 'numeric_20_5', sql: 'numeric(20,5)', make: numericOf(20, 5) },
  { name: 'numeric_6_0', sql: 'numeric(6)', make: numericOf(6, 0) },
  {
    name: 'money',
    sql: 'money',
    make: mostly((random) => `${random.chance(0.5) ? '-' : ''}${digits(random, 16)}.${random.between(10, 99)}`, '-92233720368547758.08', '92233720368547758.07', '0', '-0.01'),
  },
  { name: 'oid', sql: 'oid', make: mostly((random) => whole(random, 0n, 4294967295n), '0', '4294967295') },
  { name: 'xid', sql: 'xid', make: mostly((random) => whole(random, 0n, 4294967295n), '0', '4294967295') },
  { name: 'cid', sql: 'cid', make: mostly((random) => whole(random, 0n, 4294967295n), '0', '4294967295') },
  { name: 'xid8', sql: 'xid8', make: mostly((random) => whole(random, 0n, (1n << 64n) - 1n), '0', '18446744073709551615') },
  { name: 'tid', sql: 'tid', make: (random) => `(${whole(random, 0n, 4294967295n)},${random.between(0, 65535)})` },
  { name: 'int2vector', sql: 'int2vector', make: (random) => many(random, 5, (r) => String(r.between(-32768, 32767))).join(' ') },
  { name: 'oidvector', sql: 'oidvector', make: (random) => many(random, 5, (r) => whole(r, 0n, 4294967295n)).join(' ') },
  { name: 'pg_lsn', sql: 'pg_lsn', make: (random) => `${hex(random, 3)}/${hex(random, 4)}` },
  { name: 'txid_snapshot', sql: 'txid_snapshot', make: oneOf('1:1:', '10:20:10,14,15', '4294967290:4294967299:4294967295') },
  { name: 'pg_snapshot', sql: 'pg_snapshot', make: oneOf('1:1:', '10:20:10,14,15', '12345678901:12345678999:12345678910,12345678911') },
]; // prettier-ignore

const NUMBERS_15: readonly TypeKind[] = [
  { name: 'numeric_5_m2', sql: 'numeric(5,-2)', make: numericOf(5, -2) },
  { name: 'numeric_3_5', sql: 'numeric(3,5)', make: numericOf(3, 5) },
];

function texts(version: number): readonly TypeKind[] {
  const ascii: Make = (random) => (random.chance(0.1) ? '' : String.fromCodePoint(random.between(1, 127)));
  return [
    { name: 'text', sql: 'text', make: longText(0.01) },
    { name: 'varchar', sql: 'varchar', make: awkwardText() },
    { name: 'varchar_20', sql: 'varchar(20)', make: awkwardTextOf(20) },
    { name: 'bpchar', sql: 'bpchar', make: awkwardText() },
    { name: 'char_7', sql: 'char(7)', make: awkwardTextOf(7) },
    { name: 'name', sql: 'name', make: awkwardBytesOf(63) },
    // Before 16 bytes above 127 are sent as they are, which is no UTF-8: no tool can read them as text.
    { name: 'char', sql: '"char"', make: version < 16 ? ascii : mostly(ascii, '\\200', '\\377', '\\351') },
    { name: 'refcursor', sql: 'refcursor', make: awkwardText() },
    { name: 'bytea', sql: 'bytea', make: (random) => `\\x${hex(random, random.chance(0.01) ? 60_000 : random.between(0, 40))}` },
    { name: 'uuid', sql: 'uuid', make: uuid },
    { name: 'bit_5', sql: 'bit(5)', make: (random) => bits(random, 5) },
    { name: 'bit', sql: 'bit', make: (random) => bits(random, 1) },
    { name: 'varbit', sql: 'bit varying', make: (random) => bits(random, random.between(0, 70)) },
    { name: 'varbit_12', sql: 'varbit(12)', make: (random) => bits(random, random.between(0, 12)) },
  ];
}

export function uuid(random: Random): string {
  return hex(random, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function bits(random: Random, length: number): string {
  return Array.from({ length }, () => random.between(0, 1)).join('');
}

/** `spaced`: json keeps the text as it is, blanks, key order and duplicates included. */
export function json(spaced: boolean): Make {
  const word = awkwardText(3);
  const blank = (random: Random): string => (spaced ? pick(random, ['', ' ', '\t', '\n  ']) : '');
  const scalar: Make = (random) =>
    pick(random, [
      (): string => JSON.stringify(word(random)),
      (): string =>
        pick(random, ['null', 'true', 'false', '0', '-0', '1.0', '1e5', '12345678901234567890.123456789', '"\\u00e9"', '"\\ud83d\\ude00"']),
      (): string => digits(random, 40),
    ])();
  const value = (random: Random, depth: number): string => {
    if (depth === 0 || random.chance(0.5)) return scalar(random);
    const b = blank(random);
    const items = Array.from({ length: random.between(0, 3) }, () => value(random, depth - 1));
    if (random.chance(0.5)) return `[${b}${items.join(`${b},`)}${b}]`;
    return `{${b}${items.map((item) => `${JSON.stringify(pick(random, ['a', 'b', '', word(random)]))}${b}:${item}`).join(`,${b}`)}${b}}`;
  };
  return (random) => blank(random) + value(random, 3);
}

const DOCUMENTS: readonly TypeKind[] = [
  { name: 'json', sql: 'json', make: json(true) },
  { name: 'jsonb', sql: 'jsonb', make: json(false) },
  { name: 'jsonpath', sql: 'jsonpath', make: oneOf('$', 'strict $.a[*] ? (@ > 1.50)', '$."a b".c[last]', '$.x ? (@ like_regex "^a\\\\.b" flag "i")', 'lax $.** ? (exists(@.y))') },
  {
    name: 'xml',
    sql: 'xml',
    make: mostly((random) => `<a b="${random.between(0, 9)}">${xmlText(awkwardText(3)(random))}</a>`, '', 'content &amp; more<b/>', '<?xml version="1.0" encoding="UTF-8"?><a/>', '<?xml version="1.1"?><a/>', '<!-- c --><a><![CDATA[<>&]]></a>', '<a/>\n<b>\t</b>'),
  },
  {
    name: 'tsvector',
    sql: 'tsvector',
    make: (random) => many(random, 6, (r) => `'${lexeme(r)}'${r.chance(0.5) ? `:${r.between(1, 16383)}${pick(r, ['', 'A', 'B', 'C'])},${r.between(1, 99)}` : ''}`).join(' '),
  },
  { name: 'tsquery', sql: 'tsquery', make: (random) => pick(random, ['', `'${lexeme(random)}'`, `!'${lexeme(random)}':*AB & ('x' | 'y z')`, `'a' <-> '${lexeme(random)}' <3> 'c'`]) },
]; // prettier-ignore

function lexeme(random: Random): string {
  const text = awkwardText(3)(random).replaceAll(/['\\]/g, '$&$&');
  return text.trim() === '' ? 'x' : text;
}

/** XML 1.0 knows no control characters but tab and line ends, and two code points at the end of the first plane not. */
function xmlText(text: string): string {
  const known = [...text].filter((character) => (character >= ' ' && !'\ufffe\uffff'.includes(character)) || '\t\n\r'.includes(character));
  return known.join('').replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

const point =
  (make: Make): Make =>
  (random) =>
    `(${make(random)},${make(random)})`;

const SHAPES: readonly TypeKind[] = [
  { name: 'point', sql: 'point', make: point(float8) },
  { name: 'line', sql: 'line', make: (random) => `{${pick(random, ['1', '-1', '0.1', '-0.5e10'])},${finite(random)},${finite(random)}}` },
  { name: 'lseg', sql: 'lseg', make: (random) => `[${point(float8)(random)},${point(float8)(random)}]` },
  { name: 'box', sql: 'box', array: ';', make: (random) => `${point(float8)(random)},${point(float8)(random)}` },
  {
    name: 'path',
    sql: 'path',
    make: (random) => {
      const points = [point(float8)(random), ...many(random, 4, point(float8))].join(',');
      return random.chance(0.5) ? `[${points}]` : `(${points})`;
    },
  },
  { name: 'polygon', sql: 'polygon', make: (random) => `(${[point(float8)(random), ...many(random, 4, point(float8))].join(',')})` },
  { name: 'circle', sql: 'circle', make: (random) => `<${point(float8)(random)},${finite(random).replace('-', '').replace('e-', 'e')}>` },
];

const octets = (random: Random): string => Array.from({ length: 4 }, () => random.between(0, 255)).join('.');
const groups = (random: Random, most: number): string =>
  Array.from({ length: most }, () => random.between(0, 65535).toString(16)).join(':');

const ADDRESSES: readonly TypeKind[] = [
  { name: 'macaddr', sql: 'macaddr', make: (random) => hex(random, 6).replaceAll(/..(?=.)/g, '$&:') },
  { name: 'macaddr8', sql: 'macaddr8', make: (random) => hex(random, 8).replaceAll(/..(?=.)/g, '$&:') },
  {
    name: 'inet',
    sql: 'inet',
    make: mostly((random) => (random.chance(0.5) ? `${octets(random)}/${random.between(0, 32)}` : `${groups(random, 8)}/${random.between(0, 128)}`), '0.0.0.0', '::', '::1/128', '10.0.0.1/32', '::ffff:1.2.3.4'),
  },
  { name: 'cidr', sql: 'cidr', make: (random) => pick(random, [`${random.between(1, 255)}.0.0.0/8`, '0.0.0.0/0', octets(random), '::/0', `${random.between(1, 65535).toString(16)}::/16`, '10.1.0.0/16']) },
]; // prettier-ignore

/** Names of objects are read again as names: overloaded functions have none that is unique, so regproc and regoper cannot hold them. */
const NAMES: readonly TypeKind[] = [
  { name: 'regclass', sql: 'regclass', make: oneOf('pg_class', '-', 'pg_catalog.pg_type', '4294967290', 'app.part') },
  { name: 'regproc', sql: 'regproc', make: oneOf('now', '-', 'pg_catalog.array_in', '4294967290') },
  { name: 'regprocedure', sql: 'regprocedure', make: oneOf('abs(integer)', '-', 'max(text)', 'substr(text,integer,integer)') },
  { name: 'regoper', sql: 'regoper', make: oneOf('0', '4294967290', '|/', '||/') },
  { name: 'regoperator', sql: 'regoperator', make: oneOf('+(integer,integer)', '0', '-(NONE,integer)', '||(text,text)') },
  { name: 'regtype', sql: 'regtype', make: oneOf('integer', '-', 'timestamp with time zone', 'text[]', 'app.mood', '"char"') },
  { name: 'regrole', sql: 'regrole', make: oneOf('postgres', '-', 'pg_monitor', '4294967290') },
  { name: 'regnamespace', sql: 'regnamespace', make: oneOf('pg_catalog', '-', 'app', '"Ext Ünd"') },
  { name: 'regconfig', sql: 'regconfig', make: oneOf('english', '-', 'pg_catalog.simple') },
  { name: 'regdictionary', sql: 'regdictionary', make: oneOf('simple', '-', 'english_stem') },
  { name: 'regcollation', sql: 'regcollation', make: oneOf('"C"', '-', 'pg_catalog."default"') },
  {
    name: 'aclitem',
    sql: 'aclitem',
    make: oneOf('postgres=arwdDxt/postgres', '=r/postgres', 'postgres=r*w*/postgres', 'pg_monitor=U/postgres'),
  },
];

const RANGES: readonly TypeKind[] = withMultiranges([
  { name: 'int4range', sql: 'int4range', make: rangeOf(smallInt4, byNumber) },
  { name: 'int8range', sql: 'int8range', make: rangeOf((random) => int8(random).replace(/7$/, '6'), byInteger) },
  { name: 'numrange', sql: 'numrange', make: rangeOf(rangeNumeric, byNumber) },
]);

export function builtinKinds(version: number): readonly TypeKind[] {
  return [
    ...NUMBERS, ...(version >= 15 ? NUMBERS_15 : []), ...texts(version), ...DOCUMENTS, ...SHAPES, ...ADDRESSES, ...NAMES, ...RANGES,
    ...temporalKinds(version),
  ]; // prettier-ignore
}

/** Types without an input: PostgreSQL itself refuses any text for them, so no column of a user can hold a value. */
const NO_INPUT: readonly string[] = [
  'gtsvector', 'pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary',
]; // prettier-ignore

/** Built-in types of the server that no kind stands for. */
export async function missingKinds(url: string, kinds: readonly TypeKind[]): Promise<readonly string[]> {
  const rows = await execute(
    url,
    `select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm') and typname !~ '^_'
      and not exists (select from unnest(array[${kinds.map((kind) => `$q$${kind.sql}$q$::regtype`).join(', ')}]) k (t) where k.t = pg_type.oid) order by 1`,
  );
  return rows.map((row) => row['typname'] ?? '').filter((name) => !NO_INPUT.includes(name));
}
