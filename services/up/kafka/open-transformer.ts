/** The transformer over Kafka. Guarantee: closed with `await using`. */
import { KafkaMembers } from '#connectors/change-log/kafka/kafka-members.ts';
import { membersGroup, membersTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { mappingTag } from '#schemas/mapping/table-tag.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { openFormat } from './open-format.ts';
import { openKafka, type KafkaOptions } from './open-kafka.ts';
import type { LogOptions } from './open-reader-log.ts';

export interface OpenTransformer extends AsyncDisposable {
  readonly transformer: Transformer;
}

/** @throws PipelineError CF-3001, CF-3006 */
export async function openTransformer(options: LogOptions & KafkaOptions): Promise<OpenTransformer> {
  const { file, migration, logger } = options;
  const { partitions, compression } = options.kafka;
  await using stack = new AsyncDisposableStack();
  const kafka = await openKafka(options, 'transformer');
  stack.defer(() => kafka.close());
  const wire = await openFormat(kafka, file.name, options.kafka);
  stack.defer(() => wire.close());
  const { format } = wire;
  const { cluster } = kafka;
  const topic = membersTopic(file.name);
  const transformer = new Transformer({
    cluster,
    members: new KafkaMembers({
      kafka: cluster.kafka,
      groupId: membersGroup(file.name, mappingTag(migration.mapping.tables)),
      topic,
      logger,
    }),
    mapping: migration.mapping,
    database: migration.database,
    types: migration.types,
    format,
    partitions,
    compression,
    logger,
  });
  const kept = stack.move();
  return { transformer, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
