/**
 * Debezium's PostgreSQL source and JDBC sink as a contender, one worker each, tuned as ../shared/bench/peers/debezium.sh found best.
 * Guarantee: both workers and the sinks stay warm over pauses; only the source stands still.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectorConfig } from '#test/support/kafka/connect.ts';
import { debeziumSink, debeziumSource } from '#test/support/kafka/debezium.ts';
import { untilArrived } from '../arrival.ts';
import type { Contender, CopyOptions } from '../contender.ts';
import { cleanSource, streamStart, untilSlotIs } from '../source-side.ts';
import type { UsageGroup } from '../usage.ts';
import type { KafkaLab, Workers } from './lab.ts';

const PARTITIONS = 4;
const SINK_READY_MS = 5_000;
const FAILURE_TEXT_MAX = 1_500;

/** Debezium gives rows of a table without a key no key, and by default its sink has to have one. */
const KEYLESS = 'pgbench_history';

const SOURCE_TUNED: ConnectorConfig = {
  'max.batch.size': '8192',
  'max.queue.size': '32768',
  'poll.interval.ms': '10',
  'snapshot.max.threads': '2',
  'snapshot.fetch.size': '20000',
  'producer.override.linger.ms': '5',
  'producer.override.batch.size': '262144',
  'producer.override.buffer.memory': '67108864',
  'producer.override.compression.type': 'lz4',
};
const CONSUMER_TUNED: ConnectorConfig = {
  'batch.size': '2000',
  'consumer.override.max.poll.records': '8000',
  'consumer.override.max.partition.fetch.bytes': '8388608',
  'consumer.override.fetch.max.bytes': '67108864',
};
const SINK_TUNED: ConnectorConfig = { ...CONSUMER_TUNED, 'tasks.max': '2', 'use.reduction.buffer': 'true' };
const KEYLESS_SINK: ConnectorConfig = {
  ...CONSUMER_TUNED,
  'tasks.max': '1',
  'insert.mode': 'insert',
  'primary.key.mode': 'none',
  'delete.enabled': 'false',
};
/** As native apply: foreign keys are not checked, since topics are applied in any order. */
const URL_TUNED = '?options=-c%20session_replication_role=replica&reWriteBatchedInserts=true';

export class Debezium implements Contender {
  readonly name = 'debezium';
  readonly ordered = false;
  readonly setting =
    'Debezium 3.7 PostgreSQL source and 3.6 JDBC sink, a Connect worker each (2 GB heap), tuned, JSON with schemas, 4 partitions, 2 sink tasks, kept warm';
  readonly #lab: KafkaLab;
  #workers: Workers | undefined;
  #copy: CopyOptions | undefined;

  constructor(lab: KafkaLab) {
    this.#lab = lab;
  }

  get targetUrl(): string {
    return this.#copy?.targetUrl ?? '';
  }

  /** The sinks are up and wait. */
  async prepare(options: CopyOptions): Promise<void> {
    this.#copy = options;
    const { sink } = (this.#workers = await this.#lab.workers());
    await this.#lab.createTopics(
      options.tables.map((table) => `${options.label}.public.${table}`),
      PARTITIONS,
    );
    for (const [name, config] of this.#sinks) await sink.create(name, config);
    for (const [name] of this.#sinks) await sink.waitRunning(name);
    await delay(SINK_READY_MS);
  }

  async copy({ sourceUrl, targetUrl, tables, label }: CopyOptions): Promise<number> {
    const config = { ...SOURCE_TUNED, 'snapshot.mode': 'initial' };
    const names = tables.map((table) => `public.${table}`);
    await this.#running.source.create(label, debeziumSource(sourceUrl, { prefix: label, tables: names, partitions: PARTITIONS, config }));
    return await untilArrived({ sourceUrl, targetUrl, tables, check: () => this.check() });
  }

  async check(): Promise<void> {
    const { source, sink } = this.#running;
    const all = [[source, this.#label] as const, ...this.#sinks.map(([name]) => [sink, name] as const)];
    for (const [worker, name] of all) {
      const status = await worker.status(name).catch(() => undefined);
      const failed = [status?.connector, ...(status?.tasks ?? [])].find((part) => part?.state === 'FAILED');
      if (failed !== undefined) throw new Error(`connector ${name} failed: ${failed.trace?.slice(0, FAILURE_TEXT_MAX)}`);
    }
  }

  async pause(): Promise<void> {
    await this.#running.source.halt(this.#label);
    await untilSlotIs(false, this.#copied);
  }

  async resume(): Promise<void> {
    await this.#running.source.resume(this.#label);
  }

  async streamingSince(): Promise<number | undefined> {
    return streamStart(this.#copied);
  }

  processes(): readonly UsageGroup[] {
    const { source, sink } = this.#running;
    return [
      { name: 'source worker', kind: 'process', fresh: false, pid: () => source.pid },
      { name: 'sink worker', kind: 'process', fresh: false, pid: () => sink.pid },
    ];
  }

  profile(): undefined {
    return undefined;
  }

  async remove(): Promise<void> {
    if (this.#copy === undefined) return;
    const { source, sink } = this.#running;
    await source.delete(this.#label).catch(() => undefined); // it may not have been made
    for (const [name] of this.#sinks) await sink.delete(name).catch(() => undefined);
    await cleanSource(this.#copy);
    await this.#lab.deleteTopics(this.#label);
  }

  /** Name and configuration; the table without a key has one of its own. */
  get #sinks(): readonly (readonly [string, ConnectorConfig])[] {
    const { tables, targetUrl, label } = this.#copied;
    const topics = (of: readonly string[]): readonly string[] => of.map((table) => `${label}.public.${table}`);
    const config = (extra: ConnectorConfig, of: readonly string[]): ConnectorConfig => {
      const plain = debeziumSink(targetUrl, { topics: topics(of), config: extra });
      return { ...plain, 'connection.url': `${plain['connection.url']}${URL_TUNED}` };
    };
    const keyed = tables.filter((table) => table !== KEYLESS);
    const keyless = tables.filter((table) => table === KEYLESS);
    return [
      [`${label}-sink`, config(SINK_TUNED, keyed)],
      ...keyless.map((table) => [`${label}-keyless`, config(KEYLESS_SINK, [table])] as const),
    ];
  }

  get #label(): string {
    return this.#copied.label;
  }

  get #copied(): CopyOptions {
    if (this.#copy === undefined) throw new Error('the debezium contender has not copied yet');
    return this.#copy;
  }

  get #running(): Workers {
    if (this.#workers === undefined) throw new Error('the debezium contender has no workers yet');
    return this.#workers;
  }
}
