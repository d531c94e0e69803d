/**
 * Tables that hold every type, as columns and as keys, and random rows for them. Guarantee: a kind is in one wide table at least, alone
 * and (where it may) as an array; wide tables differ in replica identity, one has no key at all.
 */
import { quoteIdent, quoteLiteral } from '#schemas/table.ts';
import { type Random } from '#test/support/random.ts';
import { builtinKinds } from './builtin-kinds.ts';
import type { KeyKind } from './key-kinds.ts';
import { MADE_KINDS, MADE_TYPES } from './made-kinds.ts';
import { arrayOf, awkwardText, type Make } from './random-values.ts';
import type { TypeKind } from './type-kind.ts';

export interface ZooColumn {
  readonly name: string;
  readonly sql: string;
  readonly make: Make;
  readonly notNull: boolean;
}

export interface WideTable {
  /** Quoted, with its schema. */
  readonly name: string;
  readonly columns: readonly ZooColumn[];
  readonly keyless: boolean;
  readonly full: boolean;
}

export interface KeyTable {
  readonly name: string;
  readonly kind: KeyKind;
}

export interface Zoo {
  readonly kinds: readonly TypeKind[];
  readonly wide: readonly WideTable[];
  readonly keyed: readonly KeyTable[];
  /** Types and tables. */
  readonly ddl: string;
}

const KINDS_PER_TABLE = 25;

/** `version`: the older of the two servers. `keys`: which types of keys get a table. */
export function makeZoo(version: number, keys: readonly KeyKind[]): Zoo {
  const kinds = [...builtinKinds(version), ...MADE_KINDS];
  const wide: WideTable[] = [];
  for (let at = 0; at < kinds.length; at += KINDS_PER_TABLE) {
    const columns = kinds.slice(at, at + KINDS_PER_TABLE).flatMap(columnsOf);
    wide.push({ name: `app."Wide ${wide.length + 1}"`, columns, keyless: false, full: wide.length % 3 === 1 });
  }
  // A kind of each family, so that a row without a key is found again by what it holds.
  const some = kinds.filter((kind, i) => i % 4 === 0 && kind.notNull !== true);
  wide.push({ name: 'app.keyless', columns: some.map((kind) => scalar(kind)), keyless: true, full: true });
  const keyed = keys.map((kind) => ({ name: `app.${quoteIdent(`key ${kind.name}`)}`, kind }));
  return { kinds, wide, keyed, ddl: [MADE_TYPES, ...wide.flatMap(wideDdl), ...keyed.map(keyDdl), ALONE, PAIRED].join(';\n') };
}

/** Nothing but a key; and a key of several columns, in another order than the columns. */
const ALONE = 'create table app.alone (k text primary key)';
const PAIRED = `create table app.paired (note text, b timestamptz not null, a text collate "C" not null, c numeric not null, primary key (c, a, b))`;

function scalar(kind: TypeKind): ZooColumn {
  return { name: kind.name, sql: kind.sql, make: kind.make, notNull: kind.notNull === true };
}

function columnsOf(kind: TypeKind): readonly ZooColumn[] {
  if (kind.array === false) return [scalar(kind)];
  const make = arrayOf(kind.make, kind.array === undefined ? {} : { delimiter: kind.array });
  return [scalar(kind), { name: `${kind.name}[]`, sql: `${kind.sql}[]`, make, notNull: false }];
}

function wideDdl(table: WideTable): readonly string[] {
  const columns = table.columns.map((column) => `${quoteIdent(column.name)} ${column.sql}`).join(', ');
  const create = `create table ${table.name} (${table.keyless ? '' : 'id bigint primary key, '}${columns})`;
  return table.full ? [create, `alter table ${table.name} replica identity full`] : [create];
}

function keyDdl({ name, kind }: KeyTable): string {
  return `create table ${name} (k ${kind.sql} primary key, n int not null, note text)`;
}

/** A literal of the column's type; NULL now and then. */
export function columnValue(random: Random, column: ZooColumn): string {
  return !column.notNull && random.chance(0.1) ? 'NULL' : quoteLiteral(column.make(random));
}

export function insertWide(random: Random, table: WideTable, ids: readonly number[]): string {
  const names = table.columns.map((column) => quoteIdent(column.name)).join(', ');
  const rows = ids.map((id) => {
    const values = table.columns.map((column) => columnValue(random, column)).join(', ');
    return table.keyless ? `(${values})` : `(${id}, ${values})`;
  });
  return `insert into ${table.name} (${table.keyless ? '' : 'id, '}${names}) values ${rows.join(', ')}`;
}

const note = awkwardText();

export function insertKeyed(random: Random, table: KeyTable, rows: number): string {
  const values = Array.from(
    { length: rows },
    () => `(${quoteLiteral(table.kind.make(random))}, ${random.between(0, 99)}, ${quoteLiteral(note(random))})`,
  );
  return `insert into ${table.name} values ${values.join(', ')} on conflict do nothing`;
}

export function insertOthers(random: Random, rows: number): string {
  const texts = Array.from({ length: rows }, () => quoteLiteral(note(random)));
  const paired = texts.map(
    (text) =>
      `(${text}, '2024-10-27 00:30:00+00'::timestamptz + ${random.between(0, 9)} * interval '30 min', ${text}, ${random.between(0, 99)}.50)`,
  );
  return `insert into app.alone values ${texts.map((text) => `(${text})`).join(', ')} on conflict do nothing;
    insert into app.paired values ${paired.join(', ')} on conflict do nothing`;
}

/** Statements for the target: a row lost, one changed, one that the source never had, and a key replaced by an equal one. */
export function damageKeyed(random: Random, { name, kind }: KeyTable): readonly string[] {
  const nth = (n: number): string => `k = (select k from ${name} order by k offset ${n} limit 1)`;
  const twin = kind.twin === undefined ? [] : [`update ${name} set k = ${kind.twin} where ${nth(2)}`];
  return [
    ...twin,
    `update ${name} set n = n - 1000 where ${nth(1)}`,
    `delete from ${name} where ${nth(0)}`,
    `insert into ${name} values (${quoteLiteral(kind.make(random))}, -1, 'extra') on conflict do nothing`,
  ];
}

/** What an administrator may have set, on both databases: none of it may reach a value. */
export function hostileSettings(side: 'source' | 'target'): string {
  const settings = {
    datestyle: side === 'source' ? 'SQL, DMY' : 'SQL, MDY',
    intervalstyle: side === 'source' ? 'sql_standard' : 'iso_8601',
    timezone: side === 'source' ? 'Asia/Kathmandu' : 'America/New_York',
    extra_float_digits: '-5',
    bytea_output: 'escape',
    xmlbinary: 'hex',
    xmloption: 'document',
    array_nulls: 'off',
    standard_conforming_strings: 'off',
    quote_all_identifiers: side === 'source' ? 'on' : 'off',
    client_encoding: 'LATIN1',
    search_path: 'app',
  };
  return Object.entries(settings)
    .map(
      ([setting, value]) =>
        `do $do$ begin execute format('alter database %I set ${setting} = %L', current_database(), '${value}'); end $do$`,
    )
    .join('; ')
    .replace(`%L', current_database(), 'app'`, `%I', current_database(), 'app'`);
}
