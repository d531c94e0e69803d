/** Produce and fetch against a real broker: order, limits, offsets, pauses, and a broker that goes away and comes back. */
import { randomUUID } from 'node:crypto';
import kafkajs from 'kafkajs';
import { describe, expect, test } from 'vitest';
import type { Fetched, Fetcher, KafkaCluster, KafkaRecords } from '#connectors/change-log/kafka/cluster.ts';
import type { WireRequest } from '#connectors/change-log/kafka/connection.ts';
import type { KafkaJsCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { RecordsBuilder, stamped, type Compression } from '#connectors/change-log/kafka/record-batch.ts';
import { identityRequest, produceRequest } from '#connectors/change-log/kafka/requests.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import { PipelineError } from '#schemas/errors.ts';
import { kafkaProvider } from '#test/support/kafka/provider.ts';
import { startKafka } from '#test/support/kafka/kafka.ts';
import { clusterOn, sharedKafka } from '#test/support/log-on-kafka.ts';

const never = new AbortController().signal;
const here = (await kafkaProvider()) !== undefined;

const CODECS: readonly Compression[] = ['none', 'gzip', 'zstd'];
const warnings: string[] = [];
process.on('warning', ({ name }) => warnings.push(name));

function recordsOf(values: readonly (string | Buffer)[], compression: Compression = 'none'): KafkaRecords {
  const builder = new RecordsBuilder({ compression });
  for (const value of values) builder.add(Buffer.from('key'), Buffer.from(value), [{ name: 'cf', value: Buffer.from('header') }]);
  return builder.take();
}

async function topicOn(cluster: KafkaCluster, partitions = 1): Promise<string> {
  const topic = `t-${randomUUID()}`;
  await cluster.ensureTopics(new Map([[topic, { partitions }]]));
  return topic;
}

/** Values by partition, until each is read to `ends`. */
async function readUntil(fetcher: Fetcher, ends: readonly number[]): Promise<string[][]> {
  const seen: string[][] = ends.map(() => []);
  const next = ends.map(() => 0);
  while (next.some((at, partition) => at < ends[partition]!)) {
    for (const got of (await fetcher.next(never)) ?? []) {
      next[got.partition] = got.next;
      seen[got.partition]!.push(...recordsIn(got).map(({ value }) => String(value)));
    }
  }
  return seen;
}

const byText = (a: string, b: string): number => a.localeCompare(b);
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, index) => `${from + index}`);

describe.runIf(here)('kafka cluster', () => {
  async function opened(): Promise<KafkaJsCluster & AsyncDisposable> {
    const { brokers } = await sharedKafka();
    const cluster = await clusterOn(brokers);
    return Object.assign(cluster, { [Symbol.asyncDispose]: () => cluster.close() });
  }

  test('calls that are not awaited are stored and answered in their order, over all codecs', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster, 2);
    const answered: number[] = [];
    const calls = Array.from({ length: 60 }, async (_, call) => {
      const records = recordsOf(numbers(call * 10, call * 10 + 10), CODECS[call % 3]);
      const produced = await cluster.produce([
        { topic, partition: 1, records },
        { topic, partition: 0, records: recordsOf([`once ${call}`]) },
        { topic, partition: 0, records: recordsOf([`twice ${call}`]) },
      ]);
      answered.push(call);
      expect(produced.map(({ partition, baseOffset }) => `${partition}/${baseOffset}`)).toEqual([
        `1/${call * 10}`,
        `0/${call * 2}`,
        `0/${call * 2 + 1}`,
      ]);
    });
    await Promise.all(calls);
    expect(answered).toEqual(answered.map((_, call) => call));
    expect(await cluster.bounds(topic)).toEqual([
      { start: 0, end: 120 },
      { start: 0, end: 600 },
    ]);
    const fetcher = await cluster.fetcher();
    for (const partition of [0, 1]) fetcher.seek({ topic, partition }, 0);
    const [markers, values] = await readUntil(fetcher, [120, 600]);
    expect(values).toEqual(numbers(0, 600));
    expect(markers).toEqual(Array.from({ length: 60 }, (_, call) => [`once ${call}`, `twice ${call}`]).flat());
  });

  test('a record too large is refused with the setting to change, and so is all that was begun behind it', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster);
    const large = recordsOf([Buffer.alloc(11 * 1024 * 1024)]);
    const before = cluster.produce([{ topic, partition: 0, records: recordsOf(['before']) }]);
    const refused = cluster.produce([{ topic, partition: 0, records: large }]);
    const behind = cluster.produce([{ topic, partition: 0, records: recordsOf(['behind']) }]);
    const outcomes = await Promise.allSettled([before, refused, behind]);
    expect(outcomes[0]).toMatchObject({ status: 'fulfilled', value: [{ baseOffset: 0 }] });
    expect(outcomes[1]).toMatchObject({ status: 'rejected', reason: { code: 'CF-3005', message: expect.stringContaining(topic) } });
    expect(outcomes[2]).toMatchObject({ status: 'rejected', reason: { code: 'CF-3001' } });
    expect(await cluster.bounds(topic)).toEqual([{ start: 0, end: 1 }]); // what was behind is not stored without what was before it
    await expect(cluster.produce([{ topic, partition: 0, records: recordsOf([Buffer.alloc(9 * 1024 * 1024)]) }])).resolves.toHaveLength(1);
  });

  test('behind a call that could not even be sent nothing is stored', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster);
    const first = cluster.produce([{ topic, partition: 0, records: recordsOf(['first']) }]);
    const unsent = cluster.produce([{ topic, partition: 7, records: recordsOf(['unsent']) }]);
    const behind = cluster.produce([{ topic, partition: 0, records: recordsOf(['behind']) }]);
    const outcomes = await Promise.allSettled([first, unsent, behind]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
    expect(outcomes[1]).toMatchObject({ reason: { code: 'CF-3001', message: expect.stringContaining('partition 7 has no leader') } });
    expect(await cluster.bounds(topic)).toEqual([{ start: 0, end: 1 }]);
  });

  test('what was given up cannot arrive behind what was produced to the partition later', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster);
    const connections = cluster.connections();
    await connections.know([topic]);
    const leader = connections.leader(topic, 0)!;
    const ask = async <T>(request: WireRequest<T>): Promise<T> => (await connections.send(leader, request)).answer;
    const { producerId } = await ask(identityRequest());
    const write = async (epoch: number, sequence: number): Promise<number> => {
      const records = stamped(recordsOf(['x']), { producerId, epoch, sequence });
      return (await ask(produceRequest([{ topic, partition: 0, records }])))[0]!.errorCode;
    };
    const [invalidEpoch, outOfOrder] = [47, 45];
    expect(await write(0, 0)).toBe(0);
    expect(await write(0, 2)).toBe(outOfOrder);
    expect(await write(1, 0)).toBe(0);
    expect(await write(0, 1)).toBe(invalidEpoch);
    expect(await cluster.bounds(topic)).toEqual([{ start: 0, end: 2 }]);
    connections.close();
  });

  test('an offset outside of what is kept is refused with the range, and the rest can be read on', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster, 2);
    await cluster.produce([0, 1].map((partition) => ({ topic, partition, records: recordsOf(numbers(0, 10)) })));
    await cluster.trim({ topic, partition: 0 }, 4);
    expect(await cluster.bounds(topic)).toEqual([
      { start: 4, end: 10 },
      { start: 0, end: 10 },
    ]);
    const fetcher = await cluster.fetcher();
    for (const offset of [3, 11]) {
      fetcher.seek({ topic, partition: 0 }, offset);
      await expect(fetcher.next(never)).rejects.toMatchObject({
        code: 'CF-3003',
        message: `topic ${topic}, partition 0 does not hold offset ${offset}: it holds 4 to 10`,
      });
    }
    fetcher.seek({ topic, partition: 0 }, 4);
    const [got] = (await fetcher.next(never))!;
    expect(recordsIn(got!).map(({ offset, value }) => [offset, String(value)])).toEqual(numbers(4, 10).map((text) => [Number(text), text]));
    expect(String(recordsIn(got!)[0]!.header('cf'))).toBe('header');
  });

  test('of several partitions that were cut below their places each is told, and each can be read on', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster, 3);
    const places = [0, 1, 2].map((partition) => ({ topic, partition }));
    await cluster.produce(places.map((place) => ({ ...place, records: recordsOf(numbers(0, 10)) })));
    for (const place of places) await cluster.trim(place, 7);
    const fetcher = await cluster.fetcher();
    for (const place of places) fetcher.seek(place, 2);
    const read = new Set<number>();
    while (read.size < places.length) {
      const got = await fetcher.next(never).catch((error: unknown) => {
        if (!(error instanceof PipelineError)) throw error;
        expect(error).toMatchObject({ code: 'CF-3003', details: { offset: 2, start: 7 } });
        fetcher.seek({ topic, partition: Number(error.details['partition']) }, 7);
        return [];
      });
      for (const part of got ?? []) {
        expect(recordsIn(part).map(({ offset }) => offset)).toEqual([7, 8, 9]);
        read.add(part.partition);
      }
    }
  });

  test('a paused partition brings nothing until it is resumed, then what came meanwhile; a sought one begins there again', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster, 2);
    const fetcher = await cluster.fetcher();
    const places = [0, 1].map((partition) => ({ topic, partition }));
    for (const place of places) fetcher.seek(place, 0);
    fetcher.pause(places[0]!);
    await cluster.produce(places.map((place) => ({ ...place, records: recordsOf(numbers(0, 5)) })));
    const next = async (): Promise<readonly Fetched[]> => (await fetcher.next(never)) ?? [];
    expect((await next()).map(({ partition }) => partition)).toEqual([1]);
    await cluster.produce(places.map((place) => ({ ...place, records: recordsOf(['5']) })));
    expect((await next()).map(({ partition, next: to }) => [partition, to])).toEqual([[1, 6]]);
    fetcher.resume(places[0]!);
    expect((await next()).map(({ partition, next: to }) => [partition, to])).toEqual([[0, 6]]);
    fetcher.seek(places[1]!, 2);
    expect((await next()).flatMap((part) => recordsIn(part).map(({ offset }) => offset))).toEqual([2, 3, 4, 5]);
    fetcher.drop(places[0]!);
    await cluster.produce(places.map((place) => ({ ...place, records: recordsOf(['6']) })));
    expect((await next()).map(({ partition }) => partition)).toEqual([1]);
  });

  test('a fetch that its signal ends comes back at once and loses nothing', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster);
    const fetcher = await cluster.fetcher();
    fetcher.seek({ topic, partition: 0 }, 0);
    const stop = new AbortController();
    const waiting = fetcher.next(stop.signal);
    stop.abort();
    expect(await waiting).toBeUndefined();
    await cluster.produce([{ topic, partition: 0, records: recordsOf(['a']) }]);
    expect(await fetcher.next(stop.signal)).toBeUndefined();
    expect((await fetcher.next(never))!.flatMap((part) => recordsIn(part).map(({ value }) => String(value)))).toEqual(['a']);
    const closing = fetcher.next(never);
    await fetcher.close();
    expect(await closing).toBeUndefined();
  });

  test('what is written and read passes by kafkajs too', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster);
    await cluster.produce([{ topic, partition: 0, records: recordsOf(['ours'], 'gzip') }]);
    const producer = cluster.kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    await producer.connect();
    await producer.send({ topic, messages: [{ key: null, value: 'theirs', headers: { cf: 'header' } }] });
    await producer.disconnect();
    const consumer = cluster.kafka.consumer({ groupId: topic });
    await consumer.subscribe({ topic, fromBeginning: true });
    const seen = Promise.withResolvers<string[]>();
    const texts: string[] = [];
    await consumer.run({
      eachMessage: async ({ message }) => {
        texts.push(`${String(message.key)} ${String(message.value)} ${String(message.headers?.['cf'])}`);
        if (texts.length === 2) seen.resolve(texts);
      },
    });
    expect(await seen.promise).toEqual(['key ours header', 'null theirs header']);
    await consumer.disconnect();
    const fetcher = await cluster.fetcher();
    fetcher.seek({ topic, partition: 0 }, 1);
    const [got] = (await fetcher.next(never))!;
    expect(recordsIn(got!).map((record) => [record.key, String(record.value), String(record.header('cf'))])).toEqual([
      [undefined, 'theirs', 'header'],
    ]);
  });

  test("a topic that was removed stands in nobody else's way", async () => {
    await using cluster = await opened();
    const [removed, kept] = [await topicOn(cluster), await topicOn(cluster)];
    await cluster.produce([removed, kept].map((topic) => ({ topic, partition: 0, records: recordsOf(['0']) })));
    const fetcher = await cluster.fetcher();
    for (const topic of [removed, kept]) fetcher.seek({ topic, partition: 0 }, 0);
    await cluster.admin.deleteTopics({ topics: [removed] });
    fetcher.drop({ topic: removed, partition: 0 });
    const later = await topicOn(cluster);
    const produced = await cluster.produce([kept, later].map((topic) => ({ topic, partition: 0, records: recordsOf(['1']) })));
    expect(produced.map(({ baseOffset }) => baseOffset)).toEqual([1, 0]);
    fetcher.seek({ topic: later, partition: 0 }, 0);
    const seen: string[] = [];
    while (seen.length < 3) {
      for (const part of (await fetcher.next(never)) ?? [])
        for (const { value } of recordsIn(part)) if (part.topic !== removed) seen.push(`${part.topic} ${String(value)}`);
    }
    expect(seen.toSorted(byText)).toEqual([`${kept} 0`, `${kept} 1`, `${later} 1`].toSorted(byText));
  });

  test('topics are made to keep everything, and one with other partitions or compaction is refused', async () => {
    await using cluster = await opened();
    const topic = await topicOn(cluster, 3);
    await expect(cluster.ensureTopics(new Map([[topic, { partitions: 3 }]]))).resolves.toBeUndefined();
    await expect(cluster.ensureTopics(new Map([[topic, { partitions: 4 }]]))).rejects.toMatchObject({ code: 'CF-3002' });
    const { resources } = await cluster.admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
    });
    const settings = new Map(resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]));
    expect(['cleanup.policy', 'retention.ms', 'retention.bytes'].map((name) => settings.get(name))).toEqual(['delete', '-1', '-1']);
    expect(Number(settings.get('max.message.bytes'))).toBeGreaterThanOrEqual(10 * 1024 * 1024);
    const compacted = `${topic}-compacted`;
    await cluster.admin.createTopics({ topics: [{ topic: compacted, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] }] });
    await expect(cluster.ensureTopics(new Map([[compacted, { partitions: 1 }]]))).rejects.toMatchObject({ code: 'CF-3002' });
    expect((await cluster.topics(topic)).toSorted(byText)).toEqual([topic, compacted]);
  });
});

describe.runIf(here)('kafka cluster, and a broker that goes away', () => {
  test('reading goes on where it was when the broker is back; a produce under way fails, and a later one succeeds', async () => {
    await using kafka = await startKafka();
    const cluster = await clusterOn(kafka.brokers);
    const topic = await topicOn(cluster);
    const place = { topic, partition: 0 };
    const fetcher = await cluster.fetcher();
    fetcher.seek(place, 0);
    await cluster.produce([{ ...place, records: recordsOf(numbers(0, 5)) }]);
    expect((await fetcher.next(never))?.[0]?.next).toBe(5);
    const waiting = fetcher.next(never);
    await kafka.kill();
    await expect(cluster.produce([{ ...place, records: recordsOf(['lost']) }])).rejects.toMatchObject({ code: 'CF-3001' });
    await kafka.start();
    for (;;) {
      try {
        await cluster.produce([{ ...place, records: recordsOf(['5']) }]);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: 'CF-3001' });
      }
    }
    expect((await waiting)?.flatMap((part) => recordsIn(part).map(({ value }) => String(value)))).toEqual(['5']);
    await cluster.close();
  });

  test('no broker at all is CF-3001', async () => {
    await expect(clusterOn(['127.0.0.1:1'])).rejects.toMatchObject({ code: 'CF-3001' });
  });
});

test.runIf(here)('nothing of it makes Node warn: no timer below zero, no heap of listeners', () => {
  expect(warnings).toEqual([]);
});
