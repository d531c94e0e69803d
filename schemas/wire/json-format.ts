/**
 * Debezium's change events in Kafka Connect's JSON with schemas. Guarantee: see WireFormat; needs no registry, as each record brings its
 * schema, which is read once for all records that have the same.
 */
import { messageOf, PipelineError } from '../errors.ts';
import type { ExactTexts } from './exact-text.ts';
import { JsonDecoder } from './json-decoder.ts';
import { JsonEncoder } from './json-encoder.ts';
import { JsonNumber, parseJson } from './json-value.ts';
import { CommitSequence } from './source-block.ts';
import type { DecodedEvent, RowEncoder, RowFields, ValueMarks, WireFormat, WireShape } from './wire.ts';

export interface JsonFormatOptions {
  /** Debezium's topic.prefix: source.name of every event. */
  readonly name: string;
}

export function jsonFormat(options: JsonFormatOptions): WireFormat {
  return new JsonFormat(options.name);
}

const FORMAT_REMEDY = 'Set log.kafka.format (wire, where a connector writes) to what the topics were written in; it cannot change later.';
const HEAD = '{"schema":{';
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const COMMA = 0x2c;

/** A record's head that was met before: up to the comma behind its schema. */
interface Head {
  readonly bytes: Buffer;
  readonly decoder: JsonDecoder;
}

interface Parted {
  readonly decoder: JsonDecoder;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly exact: ExactTexts | undefined;
}

class JsonFormat implements WireFormat {
  readonly name = 'json';
  readonly #source: string;
  readonly #sequence = new CommitSequence();
  readonly #decoders = new Map<string, JsonDecoder>();
  #lastHead: Head | undefined;

  constructor(source: string) {
    this.#source = source;
  }

  async encoder(shape: WireShape): Promise<RowEncoder> {
    return new JsonEncoder(this.#source, shape, this.#sequence);
  }

  async learn(): Promise<void> {}

  knows(): boolean {
    return true;
  }

  decode(value: Buffer, marks: ValueMarks): DecodedEvent {
    const { decoder, payload } = this.#part(value);
    return decoder.decode(payload, marks);
  }

  /** Each record carries its schema, and with it the names. */
  head(): undefined {
    return undefined;
  }

  decodeKey(key: Buffer): { readonly columns: readonly string[]; readonly row: RowFields } {
    const { decoder, payload, exact } = this.#part(key);
    return decoder.decodeKey(payload, exact);
  }

  #part(bytes: Buffer): Parted {
    const head = this.#headOf(bytes);
    if (head !== undefined) {
      const rest = parseJson(`{${bytes.toString('utf8', head.bytes.length)}`) as Record<string, unknown>;
      return partedOf(head.decoder, rest);
    }
    const whole = parseWhole(bytes);
    return partedOf(this.#decoder(schemaOf(whole)), whole);
  }

  /** The schema's text is only looked up, not parsed again. */
  #headOf(bytes: Buffer): Head | undefined {
    const last = this.#lastHead;
    const known = last?.bytes.length ?? 0;
    if (last !== undefined && bytes.length > known && bytes.compare(last.bytes, 0, known, 0, known) === 0) return last;
    if (bytes.toString('latin1', 0, HEAD.length) !== HEAD) return undefined;
    const end = endOfObject(bytes, HEAD.length - 1);
    if (end < 0 || bytes[end] !== COMMA) return undefined;
    const decoder = this.#decoder(bytes.toString('utf8', HEAD.length - 1, end));
    this.#lastHead = { bytes: Buffer.from(bytes.subarray(0, end + 1)), decoder };
    return this.#lastHead;
  }

  #decoder(schema: string): JsonDecoder {
    let decoder = this.#decoders.get(schema);
    if (decoder === undefined) this.#decoders.set(schema, (decoder = new JsonDecoder(schema)));
    return decoder;
  }
}

function partedOf(decoder: JsonDecoder, record: Readonly<Record<string, unknown>>): Parted {
  return { decoder, payload: record['payload'] as Parted['payload'], exact: record['cfx'] as ExactTexts | undefined };
}

/** A record that does not begin with its schema. @throws PipelineError CF-3006 when it is no JSON. */
function parseWhole(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    return parseJson(bytes.toString('utf8')) as Record<string, unknown>;
  } catch (error) {
    throw new PipelineError('CF-3006', `a record is not JSON: ${messageOf(error)}`, { cause: error, remedy: FORMAT_REMEDY });
  }
}

/** Its schema's text. */
function schemaOf(record: Readonly<Record<string, unknown>>): string {
  const schema = record['schema'];
  if (typeof schema !== 'object' || schema === null) {
    throw new PipelineError('CF-3006', 'a record is JSON without its schema', {
      remedy: "Set key.converter.schemas.enable and value.converter.schemas.enable to true in the connector's worker, or use Avro.",
    });
  }
  return JSON.stringify(schema, (_key, value: unknown) => (value instanceof JsonNumber ? Number(value.source) : value));
}

/** Offset behind the object that opens at `at`; -1 when it does not end. */
function endOfObject(b: Buffer, at: number): number {
  let depth = 0;
  for (let p = at; p < b.length; p++) {
    const c = b[p];
    if (c === QUOTE) {
      for (p++; p < b.length && b[p] !== QUOTE; p++) if (b[p] === BACKSLASH) p++;
    } else if (c === OPEN) depth++;
    else if (c === CLOSE && --depth === 0) return p + 1;
  }
  return -1;
}
