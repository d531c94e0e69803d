/**
 * Debezium's change events in Avro. Guarantee: see WireFormat; schemas are registered when an encoder is made and fetched once per id, so
 * coding a row is synchronous.
 */
import { invariant, PipelineError } from '../errors.ts';
import { AvroDecoder } from './avro-decoder.ts';
import { AvroEncoder, MAGIC_BYTES } from './avro-encoder.ts';
import { AvroRelabel } from './avro-relabel.ts';
import { avroSchema } from './avro-schema.ts';
import { TransactionParts } from './avro-source.ts';
import { envelopeType, keyType } from './envelope-type.ts';
import { Slab } from './slab.ts';
import type { DecodedEvent, RowEncoder, RowFields, SchemaRegistry, ValueMarks, WireFormat, WireShape } from './wire.ts';

export interface AvroFormatOptions {
  /** Debezium's topic.prefix: source.name of every event. */
  readonly name: string;
}

export function avroFormat(registry: SchemaRegistry, options: AvroFormatOptions): WireFormat {
  return new AvroFormat(registry, options.name);
}

class AvroFormat implements WireFormat {
  readonly name = 'avro';
  readonly #registry: SchemaRegistry;
  readonly #source: string;
  readonly #slab = new Slab();
  readonly #transaction = new TransactionParts();
  readonly #decoders = new Map<number, AvroDecoder>();
  readonly #relabel = new AvroRelabel();

  constructor(registry: SchemaRegistry, source: string) {
    this.#registry = registry;
    this.#source = source;
  }

  async encoder(shape: WireShape): Promise<RowEncoder> {
    const key = keyType(shape);
    const keyId = key === undefined ? undefined : await this.#register(`${shape.topic}-key`, avroSchema(key));
    const valueId = await this.#register(`${shape.topic}-value`, avroSchema(envelopeType(shape)));
    return new AvroEncoder({ shape, name: this.#source, keyId, valueId, slab: this.#slab, transaction: this.#transaction });
  }

  async #register(subject: string, schema: string): Promise<number> {
    const id = await this.#registry.register(subject, schema);
    this.#relabel.know(id, schema);
    return id;
  }

  async learn(bytes: Buffer): Promise<void> {
    const id = schemaId(bytes);
    if (this.#decoders.has(id)) return;
    const schema = await this.#registry.schema(id);
    this.#relabel.know(id, schema);
    this.#decoders.set(id, new AvroDecoder(schema));
  }

  knows(bytes: Buffer): boolean {
    return this.#decoders.has(schemaId(bytes));
  }

  decode(value: Buffer, marks: ValueMarks): DecodedEvent {
    return this.#decoder(value).decode(value, MAGIC_BYTES, marks);
  }

  head(bytes: Buffer, at: number, part: 'key' | 'value', encoder: RowEncoder): Buffer | undefined {
    invariant(encoder instanceof AvroEncoder, 'an encoder of this format');
    const to = part === 'key' ? encoder.keyId : encoder.valueId;
    return to === undefined || bytes[at] !== 0 ? undefined : this.#relabel.head(bytes.readUInt32BE(at + 1), to);
  }

  decodeKey(key: Buffer): { readonly columns: readonly string[]; readonly row: RowFields } {
    return this.#decoder(key).decodeKey(key, MAGIC_BYTES);
  }

  #decoder(bytes: Buffer): AvroDecoder {
    const decoder = this.#decoders.get(schemaId(bytes));
    invariant(decoder !== undefined, 'a schema is learnt before its records are decoded');
    return decoder;
  }
}

function schemaId(bytes: Buffer): number {
  if (bytes.length < MAGIC_BYTES || bytes[0] !== 0) {
    throw new PipelineError('CF-3006', "a record is not in Confluent's Avro wire format (0, schema id, Avro)", {
      remedy:
        'Set log.kafka.format to json if the topics were written so (it cannot change later). Of a connector: set its converters to Avro with a schema registry, or say wire: json.',
    });
  }
  return ((bytes[1]! << 24) | (bytes[2]! << 16) | (bytes[3]! << 8) | bytes[4]!) >>> 0;
}
