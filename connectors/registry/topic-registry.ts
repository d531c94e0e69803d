/**
 * A registry of schemas within a topic, so that no server is needed. Guarantee: the id of a schema is the offset of the first record with
 * its text; whoever registers the same text at the same time reads the same id back, and an id never changes.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { SchemaRegistry } from '#schemas/wire/wire.ts';
import type { Cursor, Offset, ReadBatch, Topic } from '#connectors/change-log/change-log.ts';

/** How long an id may be missing: its record is older than any record that names it. */
const PATIENCE_MS = 15_000;
const PREFIX_BYTES = 4;

interface SchemaRecord {
  readonly subject: string;
  readonly schema: string;
}

/** `topic`: one partition, kept for ever, used for nothing else. */
export function topicRegistry(topic: Topic, options: { readonly patienceMs?: number } = {}): SchemaRegistry {
  return new TopicRegistry(topic, options.patienceMs ?? PATIENCE_MS);
}

class TopicRegistry implements SchemaRegistry {
  readonly #topic: Topic;
  readonly #patienceMs: number;
  readonly #cursor: Cursor;
  readonly #byText = new Map<string, number>();
  readonly #byId = new Map<number, string>();
  /** First offset not yet read. */
  #read: Offset;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(topic: Topic, patienceMs: number) {
    this.#topic = topic;
    this.#patienceMs = patienceMs;
    this.#read = topic.start(0);
    this.#cursor = topic.read(0, this.#read);
  }

  register(subject: string, schema: string): Promise<number> {
    return this.#alone(async () => {
      if (!this.#byText.has(schema)) await this.#readAll();
      if (!this.#byText.has(schema)) {
        const { endOffset } = await this.#topic.append(0, batchOf({ subject, schema }));
        await this.#readTo(endOffset);
      }
      return this.#byText.get(schema)!;
    });
  }

  schema(id: number): Promise<string> {
    return this.#alone(async () => {
      if (!this.#byId.has(id)) await this.#readAll();
      if (!this.#byId.has(id)) await this.#readTo(id + 1);
      const schema = this.#byId.get(id);
      if (schema !== undefined) return schema;
      throw new PipelineError('CF-3006', `the topic ${this.#topic.name} has no schema ${id}, which a record names`, {
        remedy: 'Give the same name and the same Kafka as the process that wrote the record; schemas topics must never be trimmed.',
      });
    });
  }

  async close(): Promise<void> {
    await this.#cursor.close();
  }

  /** One after another: a cursor has one caller. */
  #alone<T>(call: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(call);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #readAll(): Promise<void> {
    for (let batch = await this.#cursor.poll(); batch !== undefined; batch = await this.#cursor.poll()) this.#take(batch);
  }

  async #readTo(end: Offset): Promise<void> {
    const signal = AbortSignal.timeout(this.#patienceMs);
    while (this.#read < end) {
      const batch = await this.#cursor.next(signal);
      if (batch === undefined) return;
      this.#take(batch);
    }
  }

  #take({ baseOffset, count, bytes }: ReadBatch): void {
    let at = 0;
    for (let i = 0; i < count; i++) {
      const length = bytes.readUInt32BE(at);
      const { schema } = JSON.parse(bytes.toString('utf8', at + PREFIX_BYTES, at + PREFIX_BYTES + length)) as SchemaRecord;
      at += PREFIX_BYTES + length;
      if (!this.#byText.has(schema)) this.#byText.set(schema, baseOffset + i);
      this.#byId.set(baseOffset + i, schema);
    }
    this.#read = baseOffset + count;
  }
}

function batchOf(record: SchemaRecord): { readonly count: number; readonly parts: readonly Buffer[] } {
  const json = Buffer.from(JSON.stringify(record), 'utf8');
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(json.length);
  return { count: 1, parts: [prefix, json] };
}
