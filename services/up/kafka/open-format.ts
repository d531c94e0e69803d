/** How rows are written on the wire, as the file says. Guarantee: all processes of one file read what any of them wrote. */
import { confluentRegistry } from '#connectors/registry/confluent-registry.ts';
import { registryAgent } from '#connectors/registry/registry-agent.ts';
import { topicRegistry } from '#connectors/registry/topic-registry.ts';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import type { SchemaRegistry, WireFormat } from '#schemas/wire/wire.ts';
import type { OpenKafka } from './open-kafka.ts';

export interface OpenFormat {
  readonly format: WireFormat;
  readonly close: () => Promise<void>;
}

/** `name`: of the migration. @throws PipelineError CF-3001, CF-3006 */
export async function openFormat(kafka: OpenKafka, name: string, settings: KafkaSettings): Promise<OpenFormat> {
  if (settings.format === 'json') return { format: jsonFormat({ name }), close: async () => undefined };
  const registry = await openRegistry(kafka, settings);
  return { format: avroFormat(registry, { name }), close: () => registry.close() };
}

async function openRegistry(kafka: OpenKafka, settings: KafkaSettings): Promise<SchemaRegistry> {
  if (settings.registry === undefined) return topicRegistry(await kafka.schemas());
  const agent = await registryAgent(settings);
  return confluentRegistry(settings.registry, { ...(agent !== undefined && { agent }) });
}
