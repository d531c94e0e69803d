import { expect, test } from 'vitest';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import type { WireColumn } from '#schemas/wire/wire.ts';
import { A_SOURCE, rowOf, textsOf, thereAndBack } from '#test/support/wire-rows.ts';

const NONE = { absent: Buffer.alloc(0), exact: undefined };

function column(name: string, typeOid: number, isKey = false): WireColumn {
  return { name, typeOid, typmod: -1, isKey, isNullable: !isKey };
}

test('writes integers with all their digits, and reads them so', async () => {
  const format = jsonFormat({ name: 'shop' });
  const columns = [column('id', 20, true), column('n', 20), column('list', 1016), column('no text', 25)];
  const encoder = await format.encoder({ topic: 'shop.public.item', database: 'shop', schema: 'public', table: 'item', columns });
  const texts = ['9007199254740993', '-9223372036854775808', '{9223372036854775807,NULL}', undefined];
  const { value, key } = encoder.encode({ op: 'c', before: undefined, after: rowOf(texts), source: A_SOURCE });
  expect(value.toString('utf8')).toContain('"after":{"id":9007199254740993,"n":-9223372036854775808,"list":[9223372036854775807,null],');
  expect(JSON.parse(key!.toString('utf8'))).toMatchObject({
    schema: { type: 'struct', name: 'shop.public.item.Key', optional: false, fields: [{ type: 'int64', optional: false, field: 'id' }] },
  });
  expect(await thereAndBack(format, encoder, { after: texts })).toMatchObject({ after: texts, key: [texts[0]], exact: [] });
  expect(format.decode(value, NONE)).toMatchObject({ op: 'c', columns: columns.map(({ name }) => name), source: A_SOURCE });
});

test('carries keys that their type has no exact form for', async () => {
  const format = jsonFormat({ name: 'shop' });
  const shape = { topic: 't', database: 'd', schema: 's', table: 't', columns: [column('id', 1700, true)] };
  expect(await thereAndBack(format, await format.encoder(shape), { after: ['NaN'] })).toMatchObject({ key: ['NaN'], after: ['NaN'] });
});

const ROW = {
  type: 'struct',
  optional: true,
  name: 'x.public.t.Value',
  fields: [
    { type: 'int64', optional: false, field: 'id' },
    { type: 'string', optional: true, field: 'toast' },
    {
      type: 'bytes',
      optional: true,
      name: 'org.apache.kafka.connect.data.Decimal',
      version: 1,
      parameters: { scale: '2' },
      field: 'price',
    },
    { type: 'int64', optional: true, name: 'io.debezium.time.MicroTimestamp', version: 1, field: 'at' },
    { type: 'array', items: { type: 'float', optional: true }, optional: true, field: 'ratios' },
    { type: 'map', keys: { type: 'string' }, values: { type: 'string', optional: true }, optional: true, field: 'pairs' },
    { type: 'double', optional: true, field: 'ratio' },
  ],
};

const RECORD = {
  schema: {
    type: 'struct',
    optional: false,
    name: 'x.public.t.Envelope',
    version: 2,
    fields: [
      { ...ROW, field: 'before' },
      { ...ROW, field: 'after' },
      { type: 'struct', optional: false, name: 'io.debezium.connector.postgresql.Source', fields: [{ type: 'int64', optional: true, field: 'lsn' }, { type: 'int64', field: 'ts_us' }], field: 'source' },
      { type: 'string', optional: false, field: 'op' },
    ],
  },
  payload: {
    before: null,
    after: { id: 0, toast: '__debezium_unavailable_value', price: '/zg=', at: -1, ratios: [1.5, null], pairs: { a: null }, ratio: 'NaN' },
    source: { lsn: 22_940_472, ts_us: 1_700_000_000_000_001 },
    op: 'u',
  },
}; // prettier-ignore

test("reads the connector's own records", () => {
  const format = jsonFormat({ name: 'x' });
  const text = JSON.stringify(RECORD).replace('"id":0', '"id":9223372036854775807');
  const payloadFirst = text.replace(/^\{("schema":.*),("payload":.*)\}$/, '{$2,$1}');
  expect(payloadFirst).not.toBe(text);
  for (const bytes of [
    text,
    text,
    payloadFirst,
    JSON.stringify(JSON.parse(text), null, 1).replace('9223372036854776000', '9223372036854775807'),
  ]) {
    const event = format.decode(Buffer.from(bytes), NONE);
    expect(textsOf(event.after, 7)).toEqual([
      '9223372036854775807',
      undefined,
      '-2.00',
      '1969-12-31 23:59:59.999999',
      '{1.5,NULL}',
      '{"a":null}',
      'NaN',
    ]);
    expect(event).toMatchObject({ op: 'u', source: { commitLsn: 22_940_472n, commitTimeMicros: 1_700_000_000_000_001n } });
  }
});

test('says what to set when records come without their schema', () => {
  const decode = (text: string): unknown => jsonFormat({ name: 'x' }).decode(Buffer.from(text), NONE);
  expect(() => decode('{"before":null,"after":{"id":1},"op":"c"}')).toThrow(
    expect.objectContaining({ code: 'CF-3006', remedy: expect.stringContaining('schemas.enable') }),
  );
  expect(() => decode('{"schema":{"type":"struct","fields":[]},"payload":{}}')).toThrow(expect.objectContaining({ code: 'CF-3006' }));
});
