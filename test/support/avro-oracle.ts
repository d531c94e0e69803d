/** avsc as a second opinion on Avro. Guarantee: every long is a BigInt, as avsc's own numbers are wrong from 2^52 on. */
import avro from 'avsc';
import type { SchemaRegistry } from '#schemas/wire/wire.ts';

const INT64_BYTES = 8;

// avsc's own name for it.
// oxlint-disable-next-line no-underscore-dangle
const long = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(INT64_BYTES);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

export function oracle(schema: string): avro.Type {
  return avro.Type.forSchema(JSON.parse(schema) as avro.Schema, {
    typeHook: (type) => (type === 'long' || (type as { readonly type?: unknown }).type === 'long' ? long : undefined),
  });
}

const HEAD_BYTES = 5;

/** A record of Confluent's wire format as avsc reads it; bytes behind the record are an error. */
export async function readByOracle(registry: SchemaRegistry, record: Buffer): Promise<Record<string, unknown>> {
  const schema = await registry.schema(record.readUInt32BE(1));
  return oracle(schema).fromBuffer(record.subarray(HEAD_BYTES)) as Record<string, unknown>;
}

/** A record of Confluent's wire format as avsc writes it. */
export async function writeByOracle(registry: SchemaRegistry, schema: string, value: unknown): Promise<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(await registry.register('other', schema), 1);
  return Buffer.concat([head, oracle(schema).toBuffer(value)]);
}
