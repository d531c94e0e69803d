import { describe, expect, test } from 'vitest';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { WireColumn, WireShape } from '#schemas/wire/wire.ts';
import { readByOracle, writeByOracle } from '#test/support/avro-oracle.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { A_SOURCE, rowOf, textsOf, thereAndBack, type TextValue } from '#test/support/wire-rows.ts';

const OID = { bool: 16, bytea: 17, int8: 20, int2: 21, int4: 23, text: 25, float4: 700, float8: 701, date: 1082, interval: 1186, timestamptz: 1184, timestamp: 1114, numeric: 1700, textArray: 1009, int8Array: 1016, money: 790 } as const; // prettier-ignore

type TypeName = keyof typeof OID;

function column(name: string, type: TypeName, rest: Partial<WireColumn> = {}): WireColumn {
  return { name, typeOid: OID[type], typmod: -1, isKey: false, isNullable: true, ...rest };
}

function shapeOf(...columns: readonly WireColumn[]): WireShape {
  return { topic: 'shop.public.item', database: 'shop', schema: 'public', table: 'item', columns };
}

const NONE = { absent: Buffer.alloc(0), exact: undefined };

function setUp(): { registry: ReturnType<typeof memoryRegistry>; format: ReturnType<typeof avroFormat> } {
  const registry = memoryRegistry();
  return { registry, format: avroFormat(registry, { name: 'shop' }) };
}

const POWERS = [31n, 32n, 52n, 53n, 62n, 63n].map((power) => 1n << power);
const EDGES = [0n, ...POWERS.flatMap((power) => [power - 1n, power, power + 1n, -power - 1n, -power, 1n - power])].filter(
  (value) => value >= -(1n << 63n) && value < 1n << 63n,
);

describe('Avro', () => {
  test('carries integers around every power of two as avsc with BigInt does', async () => {
    const { registry, format } = setUp();
    const encoder = await format.encoder(shapeOf(column('id', 'int8', { isKey: true }), column('n', 'int8'), column('list', 'int8Array')));
    for (const edge of EDGES) {
      const texts = [String(edge), String(edge), `{${edge},NULL,0}`];
      const { key, value } = encoder.encode({ op: 'c', before: undefined, after: rowOf(texts), source: A_SOURCE });
      expect(await readByOracle(registry, key!)).toEqual({ id: edge });
      expect((await readByOracle(registry, value))['after']).toEqual({ id: edge, n: edge, list: [edge, null, 0n] });
      expect((await thereAndBack(format, encoder, { after: texts })).after).toEqual(texts);
    }
  });

  test('tells the commit time in three units, whatever the year', async () => {
    const { registry, format } = setUp();
    const encoder = await format.encoder(shapeOf(column('id', 'int8', { isKey: true })));
    const times = [
      0n,
      1n,
      999n,
      4_503_599_627_370n,
      4_503_599_627_371n,
      36_028_797_018_963n,
      1_700_000_000_123_457n,
      1n << 51n,
      9_000_000_000_000_000n,
    ];
    for (const [i, commitTimeMicros] of times.entries()) {
      const source = { ...A_SOURCE, commitLsn: A_SOURCE.commitLsn + BigInt(i), commitTimeMicros };
      const { value } = encoder.encode({ op: 'c', before: undefined, after: rowOf(['1']), source });
      const told = (await readByOracle(registry, value))['source'];
      const expected = { ts_ms: commitTimeMicros / 1000n, ts_us: commitTimeMicros, ts_ns: commitTimeMicros * 1000n };
      expect(told).toMatchObject(expected);
    }
  });

  test('is what avsc reads, and reads what avsc writes, for random rows of simple types', async () => {
    const { registry, format } = setUp();
    const seed = seedFromEnvironment();
    const random = seeded(seed);
    const columns = [
      column('id', 'int4', { isKey: true }),
      column('small', 'int2'),
      column('big', 'int8'),
      column('words', 'text'),
      column('flag', 'bool'),
      column('raw', 'bytea'),
      column('real', 'float8'),
    ];
    const encoder = await format.encoder(shapeOf(...columns));
    for (let i = 0; i < 300; i++) {
      const big = BigInt.asIntN(
        random.between(1, 64),
        BigInt(Math.floor(random.next() * 2 ** 53)) * 2048n + BigInt(random.between(0, 2047)),
      );
      const bytes = Buffer.from(Array.from({ length: random.between(0, 300) }, () => random.between(0, 255)));
      const plain = {
        id: random.between(-(2 ** 31), 2 ** 31 - 1),
        small: random.chance(0.2) ? null : random.between(-32768, 32767),
        big: random.chance(0.2) ? null : big,
        words: random.chance(0.2) ? null : 'é😀\\\t\n,{}"'.repeat(random.between(0, 30)),
        flag: random.chance(0.2) ? null : random.chance(0.5),
        raw: random.chance(0.2) ? null : bytes,
        real: random.chance(0.2) ? null : random.next() * 10 ** random.between(-9, 9),
      };
      const texts: TextValue[] = [
        String(plain.id),
        textOf(plain.small),
        textOf(plain.big),
        plain.words,
        plain.flag === null ? null : plain.flag ? 't' : 'f',
        plain.raw === null ? null : `\\x${plain.raw.toString('hex')}`,
        // PostgreSQL's spelling of exponents is the scenario's matter.
        plain.real === null ? null : textOf(plain.real.toFixed(3).replace(/\.?0+$/, '')),
      ];
      const real = texts[6] === null || texts[6] === undefined ? null : Number(texts[6]);
      const { value, exact } = encoder.encode({ op: 'c', before: undefined, after: rowOf(texts), source: A_SOURCE });
      const read = await readByOracle(registry, value);
      expect(read['after'], `seed ${seed}`).toEqual({ ...plain, real });
      const other = await writeByOracle(registry, await registry.schema(value.readUInt32BE(1)), read);
      expect(other.equals(value), `seed ${seed}`).toBe(true);
      await format.learn(other);
      expect(textsOf(format.decode(other, { absent: NONE.absent, exact }).after, columns.length), `seed ${seed}`).toEqual(texts);
    }
  });

  test("has the envelope of Debezium's connector", async () => {
    const { registry, format } = setUp();
    const encoder = await format.encoder(shapeOf(column('id', 'int4', { isKey: true }), column('note', 'text')));
    const first = encoder.encode({ op: 'r', before: undefined, after: rowOf(['1', 'a']), source: { ...A_SOURCE, snapshot: true } });
    const read = await readByOracle(registry, first.value);
    expect(read).toMatchObject({
      before: null,
      after: { id: 1, note: 'a' },
      op: 'r',
      transaction: null,
      source: {
        connector: 'postgresql',
        name: 'shop',
        ts_ms: 1_700_000_000_123n,
        ts_us: 1_700_000_000_123_456n,
        ts_ns: 1_700_000_000_123_456_000n,
        snapshot: 'incremental',
        db: 'shop',
        sequence: `[null,"${A_SOURCE.commitLsn}"]`,
        schema: 'public',
        table: 'item',
        txId: 4_000_000_000n,
        lsn: A_SOURCE.commitLsn,
      },
    });
    const next = { ...A_SOURCE, commitLsn: A_SOURCE.commitLsn + 8n };
    const second = encoder.encode({ op: 'd', before: rowOf(['1', null]), after: undefined, source: next });
    expect(await readByOracle(registry, second.value)).toMatchObject({
      before: { id: 1, note: null },
      after: null,
      op: 'd',
      source: { sequence: `["${A_SOURCE.commitLsn}","${next.commitLsn}"]`, snapshot: 'false' },
    });
    expect(second.key!.equals(first.key!)).toBe(true);
    const schema = JSON.parse(await registry.schema(first.value.readUInt32BE(1))) as Record<string, unknown>;
    expect(schema).toMatchObject({ name: 'Envelope', namespace: 'shop.public.item', 'connect.name': 'shop.public.item.Envelope' });
    await format.learn(second.value);
    expect(format.decode(second.value, NONE)).toMatchObject({ op: 'd', source: next });
    const truncate = encoder.encodeTruncate(A_SOURCE);
    expect(format.decode(truncate, NONE)).toMatchObject({ op: 't', before: undefined, after: undefined });
    expect(await readByOracle(registry, truncate)).toMatchObject({ op: 't' });
  });

  test('tells absent values apart from nulls and from the very text of the placeholder', async () => {
    const { registry, format } = setUp();
    const columns = [
      column('id', 'int4', { isKey: true }),
      column('a', 'text'),
      column('b', 'bytea'),
      column('c', 'numeric'),
      column('d', 'text'),
    ];
    const encoder = await format.encoder(shapeOf(...columns));
    const texts = ['1', undefined, undefined, undefined, '__debezium_unavailable_value'];
    expect((await thereAndBack(format, encoder, { before: ['1', null, null, null, null], after: texts })).after).toEqual(texts);
    const { value, absent } = encoder.encode({ op: 'u', before: undefined, after: rowOf(texts), source: A_SOURCE });
    expect([...absent]).toEqual([0b01110]);
    expect((await readByOracle(registry, value))['after']).toMatchObject({
      a: '__debezium_unavailable_value',
      b: Buffer.from('__debezium_unavailable_value'),
      c: null,
    });
  });

  test('takes the key of an update from the old row when the new one does not carry it', async () => {
    const { format } = setUp();
    const encoder = await format.encoder(shapeOf(column('id', 'text', { isKey: true }), column('n', 'int4')));
    const back = await thereAndBack(format, encoder, { before: ['a long key', null], after: [undefined, '2'] });
    expect(back.key).toEqual(['a long key']);
    expect(back.after).toEqual([undefined, '2']);
  });

  test('carries keys that their type has no exact form for', async () => {
    const { format } = setUp();
    for (const [type, text] of [
      ['numeric', 'NaN'],
      ['interval', '1 mon -2 days'],
      ['float8', '1e+23'],
      ['date', 'infinity'],
      ['timestamp', '294276-12-31 23:59:59.999999'],
    ] as const) {
      const encoder = await format.encoder(shapeOf(column('id', type, { isKey: true }), column('n', 'int4')));
      const back = await thereAndBack(format, encoder, { before: [text, '1'], after: [text, null] });
      expect(back.key, type).toEqual([text]);
      expect(back.after, type).toEqual([text, null]);
      expect(back.before, type).toEqual([text, '1']);
    }
  });

  test('gives columns their own names back, whatever Avro thinks of them', async () => {
    const { format, registry } = setUp();
    const names = ['id', 'house No', 'house_No', '1st', 'ünïcode', '__proto__', 'a.b', 'house-No', '"'];
    const encoder = await format.encoder(shapeOf(...names.map((name, i) => column(name, i < 2 ? 'numeric' : 'text', { isKey: i < 2 }))));
    const texts = names.map((name, i) => (i < 2 ? 'NaN' : name));
    const { key, value, exact, absent } = encoder.encode({ op: 'c', before: undefined, after: rowOf(texts), source: A_SOURCE });
    await format.learn(value);
    await format.learn(key!);
    const event = format.decode(value, { absent, exact });
    expect(event.columns).toEqual(names);
    expect(textsOf(event.after, names.length)).toEqual(texts);
    expect(format.decodeKey(key!).columns).toEqual(['id', 'house No']);
    // Which avsc reads, but for one that no plain object can have.
    const fields = Object.keys((await readByOracle(registry, value))['after'] as object);
    expect(fields).toEqual(['id', 'house_No_', 'house_No', '_1st', '_n_code', 'a_b', 'house_No__', '_']);
  });

  test('hands out buffers that later rows do not touch, when slabs change too', async () => {
    const { format } = setUp();
    const encoder = await format.encoder(shapeOf(column('id', 'int4', { isKey: true }), column('words', 'text')));
    const kept = Array.from({ length: 400 }, (_, i) => {
      const texts = [String(i), 'x'.repeat(i * 37)];
      const { key, value } = encoder.encode({ op: 'c', before: undefined, after: rowOf(texts), source: A_SOURCE });
      return { key: key!, value, texts };
    });
    await format.learn(kept[0]!.value);
    await format.learn(kept[0]!.key);
    for (const { key, value, texts } of kept) {
      expect(textsOf(format.decode(value, NONE).after, 2)).toEqual(texts);
      expect(textsOf(format.decodeKey(key).row, 1)).toEqual([texts[0]]);
    }
  });
});

function textOf(value: number | bigint | string | null): string | null {
  return value === null ? null : String(value);
}
