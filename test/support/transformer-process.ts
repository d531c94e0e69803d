/**
 * A transformer in a process of its own, to be stopped, killed and woken: `node transformer-process.ts BROKER NAME`. Prints the partition
 * numbers that it maps whenever they change, as JSON; SIGTERM stops it.
 */
import { writeSync } from 'node:fs';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { KafkaMembers } from '#connectors/change-log/kafka/kafka-members.ts';
import { membersTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { openKafkaCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { tableMapping } from './raw-events.ts';

const LOOK_MS = 20;
export const PARTITIONS = 3;

export function kafkaSettings(broker: string): KafkaSettings {
  return { brokers: [broker], partitions: PARTITIONS, format: 'json', compression: 'none' };
}

async function runTransformer(broker: string, name: string): Promise<void> {
  const cluster = await openKafkaCluster(kafkaSettings(broker), { clientId: name, logger: silentLogger });
  const topic = membersTopic(name);
  const transformer = new Transformer({
    cluster,
    members: new KafkaMembers({ kafka: cluster.kafka, groupId: topic, topic, logger: silentLogger }),
    mapping: { name, hash: 'h', tables: [tableMapping()] },
    database: 'db',
    format: jsonFormat({ name }),
    partitions: PARTITIONS,
    compression: 'none',
    logger: silentLogger,
  });
  const stopping = new AbortController();
  process.on('SIGTERM', () => stopping.abort());
  let told = '';
  const timer = setInterval(() => {
    const held = JSON.stringify(transformer.status().partitions.toSorted((a, b) => a - b));
    if (held !== told) writeSync(1, `${(told = held)}\n`);
  }, LOOK_MS);
  await transformer.run(stopping.signal);
  clearInterval(timer);
  await cluster.close();
}

if (import.meta.main) await runTransformer(process.argv[2]!, process.argv[3]!);
