/**
 * A reader's raw topic on a real broker, under load, and transformer processes. Guarantee: `check` reads everything there is afterwards;
 * all processes end with `await using`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { openKafkaCluster, type KafkaJsCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { claimsTopic, orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import { encodeOrderJson, type Claim, type TopicOrderRecord } from '#schemas/order/order-record.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { mappedShape } from '#schemas/wire/shape.ts';
import type { RowEncoder } from '#schemas/wire/wire.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { EventMapper } from '#services/transformer/map-event.ts';
import { MappedCheck } from './mapped-check.ts';
import type { Random } from './random.ts';
import { boundless, NO_RELATION, rawShapeOf, scatterChange, tableMapping, type RawRecord } from './raw-events.ts';
import { kafkaSettings, PARTITIONS } from './transformer-process.ts';

const PROGRAM = path.resolve(import.meta.dirname, 'transformer-process.ts');
const WRITE_EVERY_MS = 10;
const POLL_MS = 20;

export class TransformerProcess {
  readonly #child: ChildProcess;
  held: readonly number[] = [];
  readonly ended: Promise<void>;

  constructor(broker: string, name: string) {
    this.#child = spawn(process.execPath, [PROGRAM, broker, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.ended = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    createInterface({ input: this.#child.stdout! }).on('line', (line) => (this.held = JSON.parse(line) as number[]));
  }

  signal(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }
}

export class TransformerStage implements AsyncDisposable {
  readonly #broker: string;
  readonly #name: string;
  readonly #cluster: KafkaJsCluster;
  readonly #raw: RowEncoder;
  readonly #mapper: EventMapper;
  readonly #format = jsonFormat({ name: 'm' });
  readonly #processes: TransformerProcess[] = [];
  #writing: Promise<void> | undefined;
  #stopped = false;
  #v = 0;

  static async open(broker: string, name: string): Promise<TransformerStage> {
    const cluster = await openKafkaCluster(kafkaSettings(broker), { clientId: `${name}-stage`, logger: silentLogger });
    const format = jsonFormat({ name });
    const table = tableMapping();
    const raw = await format.encoder({ ...rawShapeOf(table), topic: `${name}.public.item` });
    const encoder = await format.encoder(mappedShape(table, { name, database: 'db', relation: NO_RELATION }));
    const mapper = new EventMapper({ table, encoder, format, partitions: PARTITIONS, to: boundless(encoder.shape.topic) });
    await cluster.ensureTopics(
      new Map([
        [raw.shape.topic, { partitions: PARTITIONS }],
        [orderTopic(name), { partitions: 1 }],
      ]),
    );
    const stage = new TransformerStage({ broker, name }, cluster, { raw, mapper });
    await stage.#announce();
    return stage;
  }

  async #announce(): Promise<void> {
    await this.#append(orderTopic(this.#name), 0, [{ key: undefined, value: encodeOrderJson(this.#entry), headers: [] }]);
  }

  /** As retention does it: a checkpoint says what was said of the topics, and what stood before goes. */
  async trimOrder(): Promise<void> {
    const topic = orderTopic(this.#name);
    const [bounds] = await this.#cluster.bounds(topic);
    const { end: at } = bounds!;
    const value = encodeOrderJson({ t: 'checkpoint', at, epoch: 0, base: 0, topics: [this.#entry], ends: [] });
    await this.#append(topic, 0, [{ key: undefined, value, headers: [] }]);
    await this.#cluster.trim({ topic, partition: 0 }, at);
  }

  get #entry(): TopicOrderRecord {
    const { topic, schema, table } = this.#raw.shape;
    return { t: 'topic', index: 0, topic, schema, table, partitions: PARTITIONS };
  }

  private constructor(at: { broker: string; name: string }, cluster: KafkaJsCluster, coders: { raw: RowEncoder; mapper: EventMapper }) {
    this.#broker = at.broker;
    this.#name = at.name;
    this.#cluster = cluster;
    this.#raw = coders.raw;
    this.#mapper = coders.mapper;
  }

  start(): TransformerProcess {
    const started = new TransformerProcess(this.#broker, this.#name);
    this.#processes.push(started);
    return started;
  }

  /** Changes all the time, until `finish`. */
  write(random: Random): void {
    this.#writing = this.#writeOn(random);
  }

  async #writeOn(random: Random): Promise<void> {
    while (!this.#stopped) {
      const batches = new Map<number, RawRecord[]>();
      for (let changes = random.between(1, 20); changes > 0; changes--) {
        const row = [String(random.between(1, 500)), 'ours', `body ${this.#v}`, null];
        const change = random.chance(0.1) ? ({ op: 'd', before: row } as const) : ({ op: 'u', after: row } as const);
        for (const record of scatterChange(this.#raw, change, { topic: 0, v: this.#v++ })) {
          const partition = partitionOf(record.key!, PARTITIONS);
          const batch = batches.get(partition);
          if (batch === undefined) batches.set(partition, [record]);
          else batch.push(record);
        }
      }
      // What a failed append stored counts like the rest.
      for (const [partition, records] of batches) await this.#append(this.#raw.shape.topic, partition, records).catch(() => undefined);
      await delay(WRITE_EVERY_MS);
    }
  }

  async #append(topic: string, partition: number, records: readonly RawRecord[]): Promise<void> {
    const builder = new RecordsBuilder();
    for (const { key, value, headers } of records) builder.add(key, value, headers);
    await this.#cluster.produce([{ topic, partition, records: builder.take() }]);
  }

  /** Resolves when all raw records there are now are claimed. */
  async caughtUp(): Promise<void> {
    const bounds = await this.#cluster.bounds(this.#raw.shape.topic);
    const claimed = new Map<number, number>();
    const stop = new AbortController();
    const fetcher = await this.#cluster.fetcher();
    try {
      fetcher.seek({ topic: claimsTopic(this.#name), partition: 0 }, 0);
      while (bounds.some(({ end }, partition) => (claimed.get(partition) ?? 0) < end)) {
        const records = (await fetcher.next(stop.signal))!.flatMap(recordsIn);
        const entries = records.flatMap(({ value }) => (JSON.parse(value!.toString('utf8')) as Claim).entries);
        for (const { partition, offset } of entries) claimed.set(partition, Math.max(offset, claimed.get(partition) ?? 0));
      }
    } finally {
      await fetcher.close();
    }
  }

  /** Milliseconds until it holds. */
  async until(condition: () => boolean): Promise<number> {
    const since = performance.now();
    while (!condition()) await delay(POLL_MS);
    return Math.round(performance.now() - since);
  }

  async finish(): Promise<MappedCheck> {
    this.#stopped = true;
    await this.#writing;
    await this.caughtUp();
    const check = new MappedCheck(this.#format, [this.#mapper]);
    await this.#each(this.#raw.shape.topic, (partition, record) => check.raw(0, partition, record));
    await this.#each(this.#mapper.to.name, (partition, record) => check.mapped(`${this.#mapper.to.name}/${partition}`, record));
    await this.#each(claimsTopic(this.#name), (_, { value }) => check.claim(JSON.parse(value!.toString('utf8')) as Claim));
    return check;
  }

  async #each(topic: string, visit: (partition: number, record: FetchedRecord) => void): Promise<void> {
    const bounds = await this.#cluster.bounds(topic);
    const fetcher = await this.#cluster.fetcher();
    const next = bounds.map(() => 0);
    try {
      bounds.forEach(({ end }, partition) => end > 0 && fetcher.seek({ topic, partition }, 0));
      while (bounds.some(({ end }, partition) => next[partition]! < end)) {
        for (const part of (await fetcher.next(new AbortController().signal))!) {
          for (const record of recordsIn(part)) visit(part.partition, record);
          next[part.partition] = part.next;
        }
      }
    } finally {
      await fetcher.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#writing;
    for (const one of this.#processes) one.signal('SIGKILL');
    await Promise.all(this.#processes.map((one) => one.ended));
    await this.#cluster.close();
  }
}
