/**
 * Types of keys. `twin` gives, as SQL over `k`, a value that the type holds equal to `k` and that has another text (1.0 and 1.00, a and A):
 * what a fold or a delete by key confuses most easily.
 */
import { builtinKinds } from './builtin-kinds.ts';
import { address, EXTENSION_SCHEMA, MADE_KINDS } from './made-kinds.ts';
import { arrayOf, hex, type Make, numericOf, oneOf } from './random-values.ts';
import type { TypeKind } from './type-kind.ts';

export interface KeyKind extends TypeKind {
  readonly twin?: string;
}

const NAMES: readonly string[] = [
  'bool', 'int2', 'int4', 'int8', 'float4', 'numeric_20_5', 'money', 'oid', 'pg_lsn', 'xid8', 'tid', 'oidvector', 'varchar_20', 'char_7', 'name', 'char',
  'uuid', 'bit_5', 'varbit', 'tsvector', 'macaddr', 'inet', 'cidr', 'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'timestamptz_3',
  'int4range', 'tstzrange', 'int4multirange', 'ltree', 'hstore', 'isbn13', 'seg', 'mood', 'short', 'counted', 'textrange', 'shorter', 'address', 'list',
]; // prettier-ignore

const small: Make = (random) => numericOf(6, 2)(random).replace('NaN', '7');

const TWINS: readonly KeyKind[] = [
  { name: 'float8', sql: 'float8', make: (random) => (random.chance(0.3) ? '0' : String(random.next())), twin: 'case when k = 0 then -k else k end' },
  { name: 'numeric', sql: 'numeric', make: small, twin: `case when scale(k) > 6 then trim_scale(k) else (k::text || case when scale(k) = 0 then '.0' else '0' end)::numeric end` },
  { name: 'interval', sql: 'interval', make: (random) => `${random.between(0, 60)} days ${random.between(24, 60)}:00:00`, twin: 'case when justify_interval(k)::text = k::text then make_interval(hours => (extract(epoch from k) / 3600)::int) else justify_interval(k) end' },
  { name: 'bpchar', sql: 'bpchar', make: (random) => `k${random.between(1, 400)}`, twin: `case when octet_length(k) > 8 then rtrim(k) else concat(k, '  ') end::bpchar` },
  { name: 'jsonb', sql: 'jsonb', make: (random) => `{"a": ${small(random)}}`, twin: `case when length(k::text) > 20 then jsonb_build_object('a', trim_scale((k->>'a')::numeric)) else replace(k::text, '}', case when k::text like '%.%' then '0}' else '.0}' end)::jsonb end` },
  { name: 'numrange', sql: 'numrange', make: (random) => `[${random.between(1, 50)}.0,${random.between(51, 99)}]`, twin: `numrange((lower(k)::text || '0')::numeric, trim_scale(upper(k)), '[]')` },
  { name: 'numeric_array', sql: 'numeric[]', make: arrayOf(oneOf('0', '1.5', '2.0', '7')), twin: `case when k::text like '%0.0%' then array_replace(k, 0, 0) else array_replace(k, 0, 0.0) end` },
  { name: 'citext', sql: `${EXTENSION_SCHEMA}.citext`, make: (random) => `Key${random.between(1, 400)} ü`, twin: 'case when k::text = upper(k::text) then lower(k::text) else upper(k::text) end' },
  { name: 'nocase_text', sql: 'app.nocase_text', make: (random) => `Key${random.between(1, 400)} É`, twin: `case when k::text collate "C" = upper(k::text) collate "C" then lower(k::text) else upper(k::text) end` },
  { name: 'mail', sql: 'app.mail', make: (random) => `Key${random.between(1, 400)}`, twin: 'case when k::text = upper(k::text) then lower(k::text) else upper(k::text) end' },
  { name: 'bytea', sql: 'bytea', make: (random) => `\\x${hex(random, random.between(0, 30))}` },
  { name: 'price', sql: 'app.price', make: small },
  { name: 'text', sql: 'text', make: (random) => (random.chance(0.5) ? `\\N${random.between(1, 300)}\t` : `\\.`.repeat(random.between(1, 40))) },
  { name: 'cube', sql: `${EXTENSION_SCHEMA}.cube`, make: (random) => `(${random.between(-9, 9)},${random.next()})` },
]; // prettier-ignore

/** All of them, twins first. */
export function keyKinds(version: number): readonly KeyKind[] {
  const all = new Map([...builtinKinds(version), ...MADE_KINDS].map((kind) => [kind.name, kind]));
  const plain = NAMES.map((name) => {
    const kind = all.get(name);
    if (kind === undefined) throw new Error(`no kind ${name}`);
    return kind;
  });
  return [...TWINS, { name: 'address_list', sql: 'app.address[]', make: arrayOf(address) }, ...plain];
}
