/** The brokers that the Kafka tests run on: what they promise, they keep. */
import { connect } from 'node:net';
import type { Kafka as Client } from 'kafkajs';
import { expect, test } from 'vitest';
import { openKafkaClient } from '#connectors/change-log/kafka/client.ts';
import type { KafkaSasl } from '#schemas/config/migration-file.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { describeWithKafka, describeWithRegistry } from '#test/support/kafka/describe-with-kafka.ts';
import { startKafka } from '#test/support/kafka/kafka.ts';
import { groupCoordinatorAnswers } from '#test/support/kafka/readiness.ts';
import { sharedKafka, sharedRegistry } from '#test/support/kafka/shared-servers.ts';

describeWithKafka('a broker for tests', () => {
  test('keeps its records and its address over a SIGKILL', async () => {
    await using kafka = await startKafka();
    const before = kafka.brokers;
    await produce(before, 'kept', ['one', 'two']);
    await kafka.kill();
    expect(await groupCoordinatorAnswers(kafka.listener('PLAINTEXT'))).toBe(false);
    await kafka.start();
    expect(kafka.brokers).toEqual(before);
    expect(await endOffset(kafka.brokers, 'kept')).toBe('2');
  });

  test('answers nothing while it is paused, and everything afterwards', async () => {
    await using kafka = await startKafka();
    await kafka.pause();
    const answer = groupCoordinatorAnswers(kafka.listener('PLAINTEXT'));
    expect(await answer).toBe(false);
    await kafka.resume();
    await expect.poll(async () => groupCoordinatorAnswers(kafka.listener('PLAINTEXT')), { timeout: 20_000 }).toBe(true);
  });

  test('has further listeners, users and limits when asked', async () => {
    const jaas = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
    const secured = {
      protocol: 'SASL_PLAINTEXT',
      properties: { 'sasl.enabled.mechanisms': 'SCRAM-SHA-512', 'scram-sha-512.sasl.jaas.config': jaas },
    };
    await using kafka = await startKafka({
      listeners: { SECURED: secured as never },
      scramUsers: { ann: "it's" },
      messageMaxBytes: 3_000_000,
    });
    const login = async (password: string): Promise<void> => {
      const client = await clientOf([kafka.listener('SECURED')], { mechanism: 'scram-sha-512', username: 'ann', password });
      const admin = client.admin();
      await admin.connect();
      await admin.disconnect();
    };
    await expect(login('wrong')).rejects.toThrow(/SASL/);
    await login("it's");
    await produce(kafka.brokers, 'large', ['x'.repeat(2_500_000)]);
    expect(await kafka.log()).toContain('Kafka Server started');
  });

  test('is the same one for every file that shares it', async () => {
    const [one, two] = await Promise.all([sharedKafka(), sharedKafka()]);
    expect(one).toEqual(two);
    const socket = connect(Number(one.brokers[0]?.split(':')[1]), one.brokers[0]?.split(':')[0]);
    await new Promise((done, failed) => socket.once('connect', done).once('error', failed));
    socket.destroy();
  });
});

describeWithRegistry('a schema registry for tests', () => {
  test("gives one id to one schema, by Confluent's interface", async () => {
    const { url } = await sharedRegistry();
    const register = async (subject: string): Promise<unknown> => {
      const body = JSON.stringify({
        schema: JSON.stringify({ type: 'record', name: 'LocalKafkaTest', fields: [{ name: 'n', type: 'long' }] }),
      });
      const headers = { 'content-type': 'application/vnd.schemaregistry.v1+json' };
      return (await fetch(`${url}/subjects/${subject}/versions`, { method: 'POST', headers, body })).json();
    };
    const first = await register('local-kafka-one');
    expect(first).toEqual({ id: expect.any(Number) });
    expect(await register('local-kafka-two')).toEqual(first);
  });
});

async function produce(brokers: string[], topic: string, values: readonly string[]): Promise<void> {
  const client = await clientOf(brokers);
  const admin = client.admin();
  const producer = client.producer();
  await Promise.all([admin.connect(), producer.connect()]);
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
  await producer.send({ topic, acks: -1, messages: values.map((value) => ({ value })) });
  await Promise.all([admin.disconnect(), producer.disconnect()]);
}

async function endOffset(brokers: string[], topic: string): Promise<string | undefined> {
  const admin = (await clientOf(brokers)).admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  return offsets[0]?.high;
}

async function clientOf(brokers: readonly string[], sasl?: KafkaSasl): Promise<Client> {
  const settings = { brokers, partitions: 1, format: 'json', compression: 'none', ...(sasl !== undefined && { sasl }) } as const;
  return (await openKafkaClient(settings, { clientId: 'local-kafka-test', logger: silentLogger })).kafka;
}
