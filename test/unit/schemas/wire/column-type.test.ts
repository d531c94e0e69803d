import { expect, test } from 'vitest';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { LabelledColumn } from '#schemas/wire/column-type.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { readByOracle } from '#test/support/avro-oracle.ts';
import { memoryRegistry, column as catalogColumn } from '#test/support/raw-events.ts';
import { A_SOURCE, rowOf, thereAndBack } from '#test/support/wire-rows.ts';

interface Case {
  readonly type: string;
  readonly oid: number;
  readonly typmod?: number;
  readonly catalog?: Partial<NonNullable<LabelledColumn['catalog']>>;
  readonly labels?: readonly string[];
  readonly text: string;
  /** As avsc reads it. */
  readonly avro: unknown;
  /** In JSON; absent: as in Avro. */
  readonly json?: unknown;
  readonly name?: string;
  /** The exact header carries it. */
  readonly exact?: true;
}

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
const numeric = (precision: number, scale: number): number => ((precision << 16) | (scale & 0x7ff)) + 4;
const D = 'io.debezium.data.';
const T = 'io.debezium.time.';
const DECIMAL = 'org.apache.kafka.connect.data.Decimal';

const CASES: readonly Case[] = [
  { type: 'boolean', oid: 16, text: 't', avro: true },
  { type: 'smallint', oid: 21, text: '-32768', avro: -32768 },
  { type: 'integer', oid: 23, text: '2147483647', avro: 2147483647 },
  { type: 'bigint', oid: 20, text: '-9223372036854775808', avro: -(1n << 63n) },
  { type: 'oid', oid: 26, text: '4294967295', avro: 4294967295n },
  { type: 'real', oid: 700, text: '0.1', avro: Math.fround(0.1) },
  { type: 'real, small', oid: 700, text: '-1.5e-40', avro: Math.fround(-1.5e-40) },
  { type: 'double precision', oid: 701, text: '1.7976931348623157e+308', avro: Number.MAX_VALUE },
  { type: 'double precision, negative zero', oid: 701, text: '-0', avro: -0 },
  { type: 'double precision, NaN', oid: 701, text: 'NaN', avro: NaN, json: 'NaN' },
  { type: 'double precision, other digits than JavaScript', oid: 701, text: '9.999999999999999e+22', avro: 1e23, exact: true },
  { type: 'numeric(10,2)', oid: 1700, typmod: numeric(10, 2), text: '-1.50', avro: bytes('ff6a'), name: DECIMAL },
  { type: 'numeric(38,0)', oid: 1700, typmod: numeric(38, 0), text: '12345678901234567890123456789012345678', avro: bytes('0949b0f6f0023313c4499050de38f34e'), name: DECIMAL },
  { type: 'numeric(5,-2)', oid: 1700, typmod: numeric(5, -2), text: '12300', avro: bytes('7b'), name: DECIMAL },
  { type: 'numeric(10,2), NaN', oid: 1700, typmod: numeric(10, 2), text: 'NaN', avro: null, name: DECIMAL, exact: true },
  { type: 'numeric', oid: 1700, text: '1.50', avro: { scale: 2, value: bytes('0096') }, name: `${D}VariableScaleDecimal` },
  { type: 'numeric, infinity', oid: 1700, text: '-Infinity', avro: null, name: `${D}VariableScaleDecimal`, exact: true },
  { type: 'money', oid: 790, text: '-$92,233,720,368,547,758.08', avro: bytes('8000000000000000'), name: DECIMAL },
  { type: 'date', oid: 1082, text: '1969-12-31', avro: -1, name: `${T}Date` },
  { type: 'date, infinity', oid: 1082, text: 'infinity', avro: 2147483647, name: `${T}Date` },
  { type: 'time', oid: 1083, text: '24:00:00', avro: 86_400_000_000n, name: `${T}MicroTime` },
  { type: 'timestamp', oid: 1114, text: '1969-12-31 23:59:59.999999', avro: -1n, name: `${T}MicroTimestamp` },
  { type: 'timestamp, BC', oid: 1114, text: '4714-11-24 00:00:00 BC', avro: -210_866_803_200_000_000n, name: `${T}MicroTimestamp` },
  { type: 'timestamp, infinity', oid: 1114, text: 'infinity', avro: 9_223_372_036_825_200_000n, name: `${T}MicroTimestamp` },
  { type: 'timestamp beyond 64 bits', oid: 1114, text: '294276-12-31 23:59:59.999999', avro: null, name: `${T}MicroTimestamp`, exact: true },
  { type: 'timestamp that stands for infinity', oid: 1114, text: '294247-01-10 04:00:25.2', avro: 9_223_372_036_825_200_000n, exact: true, name: `${T}MicroTimestamp` },
  { type: 'timestamp(3)', oid: 1114, typmod: 3, text: '2024-02-29 12:00:00.123', avro: 1_709_208_000_123n, name: `${T}Timestamp` },
  { type: 'timestamptz', oid: 1184, text: '2024-10-27 00:30:00.5+00', avro: '2024-10-27T00:30:00.5Z', name: `${T}ZonedTimestamp` },
  { type: 'timestamptz, BC', oid: 1184, text: '0044-03-15 12:00:00+00 BC', avro: '-0043-03-15T12:00:00Z', name: `${T}ZonedTimestamp` },
  { type: 'timetz', oid: 1266, text: '12:00:00+00', avro: '12:00:00Z', name: `${T}ZonedTime` },
  { type: 'timetz of a zone', oid: 1266, text: '01:00:00+05:30', avro: '19:30:00Z', name: `${T}ZonedTime`, exact: true },
  { type: 'interval of time', oid: 1186, text: '-26:00:00.5', avro: -93_600_500_000n, name: `${T}MicroDuration` },
  { type: 'interval', oid: 1186, text: '1 year 2 mons -3 days +04:05:06', avro: 36_572_706_000_000n, name: `${T}MicroDuration`, exact: true },
  { type: 'uuid', oid: 2950, text: '5ab6d6a1-5d3c-4f6e-8d3a-2f1a2b3c4d5e', avro: '5ab6d6a1-5d3c-4f6e-8d3a-2f1a2b3c4d5e', name: `${D}Uuid` },
  { type: 'jsonb', oid: 3802, text: '{"a": 1.50}', avro: '{"a": 1.50}', name: `${D}Json` },
  { type: 'xml', oid: 142, text: '<a/>', avro: '<a/>', name: `${D}Xml` },
  { type: 'tsvector', oid: 3614, text: "'a':1", avro: "'a':1", name: `${D}Tsvector` },
  { type: 'bytea', oid: 17, text: '\\x00ff', avro: bytes('00ff') },
  { type: 'bit(1)', oid: 1560, typmod: 1, text: '1', avro: true },
  { type: 'bit(10)', oid: 1560, typmod: 10, text: '1000000011', avro: bytes('0302'), name: `${D}Bits` },
  { type: 'varbit(12), full', oid: 1562, typmod: 12, text: '100000000011', avro: bytes('0308'), name: `${D}Bits` },
  { type: 'varbit(12), shorter', oid: 1562, typmod: 12, text: '11', avro: bytes('03'), name: `${D}Bits`, exact: true },
  { type: 'text', oid: 25, text: 'é\t\\', avro: 'é\t\\' },
  { type: 'inet', oid: 869, text: '::1', avro: '::1' },
  { type: 'pg_lsn', oid: 3220, text: '16/B374D848', avro: '16/B374D848' },
  { type: 'point', oid: 600, text: '(1,2)', avro: '(1,2)' },
  { type: 'text[]', oid: 1009, text: '{a,NULL,"b c"}', avro: ['a', null, 'b c'] },
  { type: 'timestamp[]', oid: 1115, text: '{"1970-01-01 00:00:00.000001"}', avro: [1n] },
  { type: 'numeric(4,1)[]', oid: 1231, typmod: numeric(4, 1), text: '{1.5,NaN}', avro: [bytes('0f'), null], exact: true },
  { type: 'integer[][]', oid: 1007, text: '{{1},{2}}', avro: null, exact: true },
  { type: 'integer[] of other bounds', oid: 1007, text: '[0:1]={1,2}', avro: null, exact: true },
  { type: 'enum', oid: 20_000, catalog: { typtype: 'e' }, labels: ['sad', 'ok'], text: 'ok', avro: 'ok', name: `${D}Enum` },
  { type: 'hstore', oid: 20_001, catalog: { extension: 'hstore', typeName: 'hstore' }, text: '"10"=>"x\\"", "b"=>NULL', avro: '{"10":"x\\"","b":null}', name: `${D}Json` },
  { type: 'ltree', oid: 20_002, catalog: { extension: 'ltree', typeName: 'ltree' }, text: 'a.b', avro: 'a.b', name: `${D}Ltree` },
  { type: 'a composite', oid: 20_003, catalog: { typtype: 'c' }, text: '(1,"a b")', avro: '(1,"a b")' },
  { type: 'a domain', oid: 20_004, catalog: { typtype: 'd', domainBase: { ...catalogColumn('x', 'int4'), typeOid: 1082 } }, text: '1970-01-02', avro: 1, name: `${T}Date` },
]; // prettier-ignore

test.each(CASES)('$type', async ({ type, oid, typmod = -1, catalog, labels, text, avro, json, name, exact }) => {
  const column: LabelledColumn = {
    name: 'v',
    typeOid: oid,
    typmod,
    isKey: false,
    isNullable: true,
    ...(catalog !== undefined && { catalog: { ...catalogColumn('v', 'int4'), typeOid: oid, ...catalog } }),
    ...(labels !== undefined && { labels }),
  };
  const shape = { topic: 's.t', database: 'd', schema: 's', table: 't', columns: [column] };
  const registry = memoryRegistry();
  for (const format of [avroFormat(registry, { name: 's' }), jsonFormat({ name: 's' })]) {
    const encoder = await format.encoder(shape);
    const { value } = encoder.encode({ op: 'c', before: undefined, after: rowOf([text]), source: A_SOURCE });
    if (format.name === 'avro') {
      expect(plain((await readByOracle(registry, value))['after'])).toEqual({ v: avro });
      expect(nameOf(await registry.schema(value.readUInt32BE(1))), type).toBe(name);
    } else {
      const { payload } = JSON.parse(value.toString('utf8')) as { readonly payload: { readonly after: { readonly v: unknown } } };
      expect(payload.after.v).toEqual(json ?? asJson(avro));
    }
    expect(await thereAndBack(format, encoder, { after: [text] })).toMatchObject({ after: [text], exact: exact === true ? ['v'] : [] });
  }
});

/** avsc's records as plain objects. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

/** What JSON has for it, read by JSON.parse. */
function asJson(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('base64');
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(asJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asJson(item)]));
}

/** Semantic type of the row's only field. */
function nameOf(schema: string): unknown {
  interface Named {
    readonly type: unknown;
    readonly 'connect.name'?: string;
  }
  const envelope = JSON.parse(schema) as { readonly fields: readonly { readonly type: readonly unknown[] }[] };
  const row = envelope.fields[0]!.type[1] as { readonly fields: readonly Named[] };
  return ((row.fields[0]!.type as readonly unknown[])[1] as Named)['connect.name'];
}
