/**
 * What the type of a key column means for statements that find a row by it. Guarantee: a type not known here to be plain is taken to be
 * the difficult kind, which costs a little and is never wrong.
 */
import type { ColumnMapping } from '#schemas/mapping/compiled-mapping.ts';

/** Built-in types of which two equal values always have the same text. Not numeric (1.0 = 1.00), floats (0 = -0), interval, bpchar, jsonb. */
const ONE_TEXT: ReadonlySet<string> = new Set([
  'int2', 'int4', 'int8', 'oid', 'xid8', 'bool', 'char', 'text', 'varchar', 'name', 'uuid', 'bytea', 'date', 'time', 'timetz', 'timestamp', 'timestamptz',
  'money', 'bit', 'varbit', 'inet', 'cidr', 'macaddr', 'macaddr8', 'pg_lsn', 'tid',
]); // prettier-ignore

const COLLATABLE: ReadonlySet<string> = new Set(['text', 'varchar', 'name']);

/** True when the target may hold a key that equals the source's and is not the same: an upsert must then write the key too. */
export function mayHaveTwins({ source, cast, keyMap }: ColumnMapping): boolean {
  if (keyMap !== undefined) return false;
  const type = source.domainBase ?? source;
  if (type.typtype === 'e') return false;
  const name = type.typeName ?? '';
  if (cast !== undefined || !type.builtin || type.elementOid !== 0 || !ONE_TEXT.has(name)) return true;
  // A collation may call different texts equal; a domain may bring its own.
  return COLLATABLE.has(name) && (source.collation !== undefined || source.typtype === 'd');
}

/** `column = $1` tells PostgreSQL the type of $1 except for composites, where it would be a record without a name. */
export function needsNamedType({ source, cast }: ColumnMapping): boolean {
  return cast === undefined && (source.domainBase ?? source).typtype === 'c';
}
