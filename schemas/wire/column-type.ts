/**
 * Which Connect type a column has on the wire: Debezium's own choice (adaptive times, precise decimals). Guarantee: any column has one;
 * a type that Debezium leaves out (composites, multiranges, an extension's) travels as PostgreSQL's text.
 */
import { optional, SOURCE_TYPE, type ConnectType } from './connect-type.ts';
import { NAMES } from './form/form-of-type.ts';
import type { WireColumn } from './wire.ts';

/** A column whose enum's labels are known. */
export interface LabelledColumn extends WireColumn {
  readonly labels?: readonly string[];
}

const OID = {
  bool: 16, bytea: 17, int8: 20, int2: 21, int4: 23, oid: 26, json: 114, xml: 142, float4: 700, float8: 701, money: 790, date: 1082, time: 1083,
  timestamp: 1114, timestamptz: 1184, interval: 1186, timetz: 1266, bit: 1560, varbit: 1562, numeric: 1700, uuid: 2950, jsonb: 3802, tsvector: 3614,
} as const; // prettier-ignore

/** Array type → its element, for those that travel as arrays. */
const ELEMENT: ReadonlyMap<number, number> = new Map([
  [1000, OID.bool], [1001, OID.bytea], [1016, OID.int8], [1005, OID.int2], [1007, OID.int4], [1028, OID.oid], [199, OID.json], [143, OID.xml],
  [1021, OID.float4], [1022, OID.float8], [791, OID.money], [1182, OID.date], [1183, OID.time], [1115, OID.timestamp], [1185, OID.timestamptz],
  [1187, OID.interval], [1270, OID.timetz], [1231, OID.numeric], [2951, OID.uuid], [3807, OID.jsonb], [1009, 25], [1015, 1043], [1014, 1042],
  [1003, 19], [1041, 869], [651, 650], [1040, 829], [775, 774], [3905, 3904], [3907, 3906], [3909, 3908], [3911, 3910], [3913, 3912], [3927, 3926],
]); // prettier-ignore

const MILLIS_DIGITS = 3;
const NUMERIC_HEADER = 4;

function named(base: ConnectType['base'], name: string, parameters?: Record<string, string>): ConnectType {
  return { base, name, version: 1, ...(parameters !== undefined && { parameters }) };
}

/** Of PostgreSQL's numeric(p,s); the scale has 11 bits and a sign. */
function numericType(typmod: number): ConnectType {
  if (typmod < NUMERIC_HEADER) {
    const fields = [
      { name: 'scale', type: { base: 'int32' } },
      { name: 'value', type: { base: 'bytes' } },
    ] as const;
    return { base: 'struct', name: NAMES.scaled, version: 1, fields };
  }
  const modifier = typmod - NUMERIC_HEADER;
  const scale = ((modifier & 0x7ff) ^ 0x400) - 0x400;
  return named('bytes', NAMES.decimal, { scale: String(scale), 'connect.decimal.precision': String((modifier >> 16) & 0xffff) });
}

function bitType(typmod: number): ConnectType {
  if (typmod === 1) return { base: 'boolean', parameters: { [SOURCE_TYPE]: 'BIT' } };
  return named('bytes', NAMES.bits, { length: String(typmod > 0 ? typmod : 2_147_483_647) });
}

/** Of a built-in type that is no array. */
function builtinType(oid: number, typmod: number): ConnectType {
  switch (oid) {
    case OID.bool:
      return { base: 'boolean' };
    case OID.int2:
      return { base: 'int16' };
    case OID.int4:
      return { base: 'int32' };
    case OID.int8:
    case OID.oid:
      return { base: 'int64' };
    case OID.float4:
      return { base: 'float32' };
    case OID.float8:
      return { base: 'float64' };
    case OID.numeric:
      return numericType(typmod);
    case OID.money:
      return named('bytes', NAMES.decimal, { scale: '2', 'connect.decimal.precision': '19', [SOURCE_TYPE]: 'MONEY' });
    case OID.bytea:
      return { base: 'bytes' };
    case OID.bit:
    case OID.varbit:
      return bitType(oid === OID.bit ? Math.max(typmod, 1) : typmod === 1 ? -1 : typmod);
    default:
      return textualType(oid, typmod);
  }
}

function textualType(oid: number, typmod: number): ConnectType {
  switch (oid) {
    case OID.date:
      return named('int32', NAMES.date);
    case OID.time:
      return named('int64', NAMES.microTime);
    case OID.timestamp:
      return named('int64', typmod >= 0 && typmod <= MILLIS_DIGITS ? NAMES.timestamp : NAMES.microTimestamp);
    case OID.timestamptz:
      return named('string', NAMES.zonedTimestamp);
    case OID.timetz:
      return named('string', NAMES.zonedTime);
    case OID.interval:
      return named('int64', NAMES.microDuration);
    case OID.json:
    case OID.jsonb:
      return named('string', NAMES.json);
    case OID.xml:
      return named('string', NAMES.xml);
    case OID.uuid:
      return named('string', NAMES.uuid);
    case OID.tsvector:
      return named('string', NAMES.tsvector);
    default:
      return { base: 'string' };
  }
}

/** Of types outside pg_catalog, by what the catalogue says of them. */
function madeType(column: LabelledColumn): ConnectType {
  const { catalog } = column;
  if (column.labels !== undefined && catalog?.typtype === 'e') return named('string', NAMES.enum, { allowed: column.labels.join(',') });
  if (catalog?.elementOid === 0 && catalog.extension === 'hstore' && catalog.typeName === 'hstore') {
    return named('string', NAMES.json, { [SOURCE_TYPE]: 'HSTORE' });
  }
  if (catalog?.elementOid === 0 && catalog.extension === 'ltree' && catalog.typeName === 'ltree') return named('string', NAMES.ltree);
  return { base: 'string' };
}

const FIRST_NORMAL_OID = 16_384;

/** Without saying whether it may be null. */
export function columnType(column: LabelledColumn): ConnectType {
  const base = column.catalog?.domainBase;
  if (base !== undefined) {
    const { domainBase: _, ...catalog } = { ...column.catalog!, ...base };
    return columnType({ ...column, typeOid: base.typeOid, typmod: base.typmod, catalog });
  }
  const element = ELEMENT.get(column.typeOid);
  if (element !== undefined) return { base: 'array', items: optional(builtinType(element, column.typmod)) };
  return column.typeOid < FIRST_NORMAL_OID ? builtinType(column.typeOid, column.typmod) : madeType(column);
}
