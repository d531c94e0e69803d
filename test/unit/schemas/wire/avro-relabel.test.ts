import { expect, test } from 'vitest';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { RowEncoder, WireColumn, WireFormat, WireShape } from '#schemas/wire/wire.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { A_SOURCE, rowOf, textsOf } from '#test/support/wire-rows.ts';

const COLUMNS: readonly WireColumn[] = [
  { name: 'id', typeOid: 20, typmod: -1, isKey: true, isNullable: false },
  { name: 'price', typeOid: 1700, typmod: ((10 << 16) | 2) + 4, isKey: false, isNullable: true },
  { name: 'note', typeOid: 25, typmod: -1, isKey: false, isNullable: true },
];

function shapeOf(topic: string, columns: readonly WireColumn[] = COLUMNS): WireShape {
  return { topic, database: 'shop', schema: 'public', table: 'item', columns };
}

interface Written {
  readonly format: WireFormat;
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A row of the raw topic. */
async function written(): Promise<Written> {
  const format = avroFormat(memoryRegistry(), { name: 'shop' });
  const raw = await format.encoder(shapeOf('shop.public.item'));
  const { key, value } = raw.encode({ op: 'c', before: undefined, after: rowOf(['7', '12.50', 'héllo']), source: A_SOURCE });
  await format.learn(value);
  await format.learn(key!);
  return { format, key: key!, value };
}

/** Undefined where the row has to be encoded anew. */
function relabelled(format: WireFormat, bytes: Buffer, part: 'key' | 'value', encoder: RowEncoder): Buffer | undefined {
  // Not at 0, as in a batch.
  const head = format.head(Buffer.concat([Buffer.from('abc'), bytes]), 3, part, encoder);
  return head && Buffer.concat([head, bytes.subarray(head.length)]);
}

/** What is read under the mapped topic's schema of what was handed on. */
async function handedOn({ format, key, value }: Written, encoder: RowEncoder): Promise<unknown> {
  const [mappedKey, mapped] = [relabelled(format, key, 'key', encoder)!, relabelled(format, value, 'value', encoder)!];
  await format.learn(mapped);
  await format.learn(mappedKey);
  const event = format.decode(mapped, { absent: Buffer.alloc(0), exact: undefined });
  return [event.columns, textsOf(event.after, 3), textsOf(format.decodeKey(mappedKey).row, 1)];
}

test('a record goes on as it stands under a schema that differs in the names of its records only', async () => {
  const one = await written();
  const encoder = await one.format.encoder(shapeOf('shop.mapped.new.thing'));
  expect(await handedOn(one, encoder)).toEqual([['id', 'price', 'note'], ['7', '12.50', 'héllo'], ['7']]);
  const anew = encoder.encode({ op: 'c', before: undefined, after: rowOf(['7', '12.50', 'héllo']), source: A_SOURCE });
  expect(relabelled(one.format, one.key, 'key', encoder)).toEqual(anew.key);
  // The last fields are clocks.
  const clocks = one.value.length - 30;
  expect(relabelled(one.format, one.value, 'value', encoder)!.subarray(0, clocks)).toEqual(anew.value.subarray(0, clocks));
});

const DIFFERENT: readonly (readonly [string, (columns: WireColumn[]) => readonly WireColumn[]])[] = [
  ['another name', ([id, price, note]) => [id!, price!, { ...note!, name: 'remark' }]],
  ['another type with the same bytes in Avro', ([id, price, note]) => [id!, price!, { ...note!, typeOid: 114 }]],
  ['another scale', ([id, price, note]) => [id!, { ...price!, typmod: ((10 << 16) | 3) + 4 }, note!]],
  ['another order', ([id, price, note]) => [id!, note!, price!]],
  ['a column less', ([id, price]) => [id!, price!]],
  ['a column more', ([id, price, note]) => [id!, price!, note!, { ...note!, name: 'more' }]],
  ['another key', ([id, price, note]) => [id!, price!, { ...note!, isKey: true }]],
];

test.each(DIFFERENT)('a record has to be encoded anew for a schema with %s', async (_, change) => {
  const one = await written();
  const encoder = await one.format.encoder(shapeOf('shop.mapped.new.thing', change([...COLUMNS])));
  expect(relabelled(one.format, one.value, 'value', encoder)).toBeUndefined();
});

test('a key has no other form under a shape without one', async () => {
  const one = await written();
  const encoder = await one.format.encoder(shapeOf('shop.mapped.new.thing', COLUMNS.map((column) => ({ ...column, isKey: false })))); // prettier-ignore
  expect(relabelled(one.format, one.key, 'key', encoder)).toBeUndefined();
});
