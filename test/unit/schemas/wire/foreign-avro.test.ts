import { expect, test } from 'vitest';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { writeByOracle } from '#test/support/avro-oracle.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { textsOf } from '#test/support/wire-rows.ts';

const NONE = { absent: Buffer.alloc(0), exact: undefined };

function named(type: string, name: string, more: object = {}): object {
  return { type, 'connect.version': 1, 'connect.name': name, ...more };
}

const POINT = {
  type: 'record',
  name: 'Point',
  namespace: 'io.debezium.data.geometry',
  fields: [
    { name: 'x', type: 'double' },
    { name: 'y', type: 'double' },
    { name: 'wkb', type: ['null', 'bytes'], default: null },
    { name: 'srid', type: ['null', 'int'], default: null },
  ],
  'connect.name': 'io.debezium.data.geometry.Point',
};

/** Field, Avro type, value as avsc takes it, text expected. */
const FIELDS: readonly (readonly [string, unknown, unknown, string | null | undefined])[] = [
  ['words', ['string', 'null'], 'plain', 'plain'],
  ['id', 'int', 7, '7'],
  ['nothing', ['null', 'int'], null, null],
  ['toast', ['null', 'string'], '__debezium_unavailable_value', undefined],
  ['raw_toast', 'bytes', Buffer.from('__debezium_unavailable_value'), undefined],
  ['raw', 'bytes', Buffer.from([0, 255]), '\\x00ff'],
  ['nano', named('long', 'io.debezium.time.NanoTimestamp'), 1_700_000_000_123_456_789n, '2023-11-14 22:13:20.123456'],
  [
    'milli',
    named('long', 'org.apache.kafka.connect.data.Timestamp', { logicalType: 'timestamp-millis' }),
    1_700_000_000_120n,
    '2023-11-14 22:13:20.12',
  ],
  ['micro', { type: 'long', logicalType: 'timestamp-micros' }, -1n, '1969-12-31 23:59:59.999999'],
  ['forever', named('long', 'io.debezium.time.MicroTimestamp'), 9_223_372_036_825_200_000n, 'infinity'],
  ['never', named('long', 'io.debezium.time.MicroTimestamp'), -9_223_372_036_832_400_000n, '-infinity'],
  ['zoned', named('string', 'io.debezium.time.ZonedTimestamp'), '2024-03-31T01:30:00.100+02:00', '2024-03-30 23:30:00.1+00'],
  ['far', named('string', 'io.debezium.time.ZonedTimestamp'), '+294276-12-31T23:59:59Z', '294276-12-31 23:59:59+00'],
  ['early', named('string', 'io.debezium.time.ZonedTimestamp'), '-0043-03-15T12:00:00Z', '0044-03-15 12:00:00+00 BC'],
  ['clock', named('string', 'io.debezium.time.ZonedTime'), '11:30:00Z', '11:30:00+00'],
  ['time', named('int', 'io.debezium.time.Time'), 3_723_004, '01:02:03.004'],
  ['nano_time', named('long', 'io.debezium.time.NanoTime'), 3_723_000_000_000n, '01:02:03'],
  ['day', named('int', 'io.debezium.time.Date'), 19_000, '2022-01-08'],
  [
    'price',
    {
      type: 'bytes',
      scale: 2,
      precision: 10,
      logicalType: 'decimal',
      'connect.parameters': { scale: '2' },
      'connect.name': 'org.apache.kafka.connect.data.Decimal',
    },
    Buffer.from([0xff, 0x38]),
    '-2.00',
  ],
  ['bits', named('bytes', 'io.debezium.data.Bits', { 'connect.parameters': { length: '12' } }), Buffer.from([0x0f, 0x08]), '100000001111'],
  ['list', { type: 'array', items: ['null', 'string'] }, ['a', null, 'b c'], '{a,NULL,"b c"}'],
  ['place', POINT, { x: 1.5, y: -2, wkb: null, srid: null }, '(1.5,-2)'],
  ['pairs', { type: 'map', values: ['null', 'string'] }, { a: '1', b: null }, '{"a":"1","b":null}'],
  ['vector', { type: 'array', items: 'float', 'connect.name': 'io.debezium.data.FloatVector' }, [1, 2.5], '[1,2.5]'],
  ['small', { type: 'int', 'connect.type': 'int16' }, -5, '-5'],
  ['ratio', 'double', 1e100, '1e+100'],
];

test("reads the connector's own records, whatever the order and the types of their columns", async () => {
  const registry = memoryRegistry();
  const format = avroFormat(registry, { name: 'x' });
  const row = { type: 'record', name: 'Value', fields: FIELDS.map(([name, type]) => ({ name, type })) };
  const source = {
    type: 'record',
    name: 'Source',
    fields: [
      { name: 'lsn', type: ['null', 'long'] },
      { name: 'ts_ms', type: 'long' },
    ],
  };
  const schema = JSON.stringify({
    type: 'record',
    name: 'Envelope',
    namespace: 'x.public.t',
    fields: [
      { name: 'op', type: 'string' },
      { name: 'before', type: ['null', row], default: null },
      { name: 'after', type: ['Value', 'null'] },
      { name: 'source', type: source },
      { name: 'ts_ms', type: ['null', 'long'] },
    ],
  });
  // The same with op at the end.
  const { fields, ...envelope } = JSON.parse(schema) as { readonly fields: readonly { readonly name: string }[] };
  const reordered = JSON.stringify({ ...envelope, fields: [...fields.slice(1), fields[0]] });
  const value = Object.fromEntries(FIELDS.map(([name, , given]) => [name, given]));
  for (const text of [schema, reordered]) {
    const record = await writeByOracle(registry, text, {
      op: 'u',
      before: null,
      after: value,
      source: { lsn: 77n, ts_ms: 1_700_000_000_000n },
      ts_ms: null,
    });
    expect(format.knows(record)).toBe(false);
    await format.learn(record);
    const event = format.decode(record, NONE);
    expect(event).toMatchObject({ op: 'u', before: undefined, columns: FIELDS.map(([name]) => name) });
    expect(event).toMatchObject({ source: { commitLsn: 77n, commitTimeMicros: 1_700_000_000_000_000n, xid: 0, snapshot: false } });
    expect(textsOf(event.after, FIELDS.length)).toEqual(FIELDS.map(([, , , expected]) => expected));
  }
});

test('refuses what is no envelope, and what is no Avro of a registry', async () => {
  const registry = memoryRegistry();
  const format = avroFormat(registry, { name: 'x' });
  const flat = await writeByOracle(registry, JSON.stringify({ type: 'record', name: 'Flat', fields: [{ name: 'id', type: 'int' }] }), {
    id: 1,
  });
  await format.learn(flat);
  expect(() => format.decode(flat, NONE)).toThrow(expect.objectContaining({ code: 'CF-3006' }));
  expect(textsOf(format.decodeKey(flat).row, 1)).toEqual(['1']);
  expect(() => format.knows(Buffer.from('{"schema":{}}'))).toThrow(expect.objectContaining({ code: 'CF-3006' }));
});
