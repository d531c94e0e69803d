/** Values as the Debezium connector 3.7 wrote them (seen in test runs with the real one) mean what the source holds, or are refused. */
import { expect, test } from 'vitest';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { textsOf, type TextValue } from '#test/support/wire-rows.ts';

const PLACEHOLDER = '__debezium_unavailable_value';
const CODES = [...Buffer.from(PLACEHOLDER)];
const MAP = JSON.stringify({ [PLACEHOLDER]: PLACEHOLDER });
const NO_MARKS = { absent: Buffer.alloc(0), exact: undefined };

interface Field {
  readonly type: string;
  readonly name?: string;
  readonly items?: Field;
  readonly parameters?: Readonly<Record<string, string>>;
}

const arrayOf = (type: string, name?: string): Field => ({ type: 'array', items: { type, ...(name !== undefined && { name }) } });
const DATE: Field = { type: 'int32', name: 'io.debezium.time.Date' };
const MICROS: Field = { type: 'int64', name: 'io.debezium.time.MicroTimestamp' };
const MILLIS: Field = { type: 'int64', name: 'io.debezium.time.Timestamp' };
const HSTORE: Field = { type: 'string', name: 'io.debezium.data.Json', parameters: { '__debezium.source.column.type': 'HSTORE' } };

function decoded(type: Field, value: string): TextValue {
  const row = { type: 'struct', optional: true, fields: [{ ...type, field: 'c', optional: true }] };
  const source = { type: 'struct', field: 'source', fields: [{ type: 'int64', field: 'lsn', optional: true }] };
  const envelope = {
    type: 'struct',
    fields: [{ ...row, field: 'before' }, { ...row, field: 'after' }, source, { type: 'string', field: 'op' }],
  };
  const payload = `{"before":null,"after":{"c":${value}},"source":{"lsn":1},"op":"u"}`;
  const record = Buffer.from(`{"schema":${JSON.stringify(envelope)},"payload":${payload}}`);
  return textsOf(jsonFormat({ name: 'x' }).decode(record, NO_MARKS).after, 1)![0];
}

test.each<readonly [what: string, type: Field, value: string]>([
  ['text', { type: 'string' }, JSON.stringify(PLACEHOLDER)],
  ['text[]', arrayOf('string'), JSON.stringify([PLACEHOLDER])],
  ['jsonb[]', arrayOf('string', 'io.debezium.data.Json'), JSON.stringify([PLACEHOLDER])],
  ['integer[]', arrayOf('int32'), JSON.stringify(CODES)],
  ['bigint[]', arrayOf('int64'), JSON.stringify(CODES)],
  ['date[]', arrayOf('int32', 'io.debezium.time.Date'), JSON.stringify(CODES)],
  ['uuid[]', arrayOf('string', 'io.debezium.data.Uuid'), '["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]'],
  ['bytea', { type: 'bytes' }, JSON.stringify(Buffer.from(PLACEHOLDER).toString('base64'))],
  ['bytea[]', arrayOf('bytes'), JSON.stringify([Buffer.from(PLACEHOLDER).toString('base64')])],
  ['hstore', HSTORE, JSON.stringify(MAP)],
  ['hstore without its source type', { type: 'string', name: 'io.debezium.data.Json' }, JSON.stringify(MAP)],
])('the placeholder of an unchanged %s is absent', (_, type, value) => {
  expect(decoded(type, value)).toBeUndefined();
});

test.each<readonly [type: Field, value: string, text: string]>([
  [arrayOf('string'), JSON.stringify(['a', PLACEHOLDER]), `{a,${PLACEHOLDER}}`],
  [arrayOf('string'), '["[Ljava is a text"]', '{"[Ljava is a text"}'],
  [arrayOf('int32'), '[95,95]', '{95,95}'],
  [DATE, '2146033979', 'infinity'],
  [DATE, '-2147472691', '-infinity'],
  [DATE, '-622191234', 'infinity'],
  [DATE, '2145042905', '5874897-12-31'],
  [DATE, '-2440550', '4713-01-01 BC'],
  [MICROS, '9223372036854775807', 'infinity'],
  [MICROS, '-9223372036854775808', '-infinity'],
  [MICROS, '-63517780799876544', '0044-03-15 12:00:00.123456 BC'],
  [MILLIS, '9223372036825200000', 'infinity'],
  [{ type: 'string', name: 'io.debezium.time.ZonedTimestamp' }, '"-infinity"', '-infinity'],
  [{ type: 'float64' }, '"NaN"', 'NaN'],
])('%j reads %s as %s', (type, value, text) => {
  expect(decoded(type, value)).toBe(text);
});

test('an array of arrays that came as the name of a Java object is refused', () => {
  expect(() => decoded(arrayOf('string'), '["[Ljava.lang.String;@29bba60e"]')).toThrow(expect.objectContaining({ code: 'CF-3006' }));
});

test('Avro knows the same placeholders', async () => {
  const array = (items: unknown): unknown => ['null', { type: 'array', items: ['null', items] }];
  const row = {
    type: 'record',
    name: 'Value',
    fields: [
      { name: 'texts', type: array('string') },
      { name: 'numbers', type: array('int') },
    ],
  };
  const source = { type: 'record', name: 'Source', fields: [{ name: 'lsn', type: 'long' }] };
  const fields = [
    { name: 'after', type: ['null', row] },
    { name: 'source', type: source },
    { name: 'op', type: 'string' },
  ];
  const schema = JSON.stringify({ type: 'record', name: 'Envelope', fields });
  const format = avroFormat({ register: async () => 7, schema: async () => schema, close: async () => undefined }, { name: 'x' });
  const size = (n: number): number[] => (n < 64 ? [2 * n] : [((2 * n) & 0x7f) | 0x80, n >> 6]);
  const text = (value: string): number[] => [...size(value.length), ...Buffer.from(value)];
  const texts = [2, ...size(1), 2, ...text(PLACEHOLDER), 0];
  const numbers = [2, ...size(CODES.length), ...CODES.flatMap((code) => [2, ...size(code)]), 0];
  const record = Buffer.from([0, 0, 0, 0, 7, 2, ...texts, ...numbers, 2, ...text('u')]);
  await format.learn(record);
  expect(textsOf(format.decode(record, NO_MARKS).after, 2)).toEqual([undefined, undefined]);
});
