/** The process that holds the shared servers. Guarantee: one start per name, whoever asks; `closeServers` ends those that were started. */
import { type Kafka, startKafka } from './kafka.ts';
import { type Registry, startRegistry } from './registry.ts';

export type ServerName = keyof typeof starts;

let kafka: Promise<Kafka> | undefined;
let registry: Promise<Registry> | undefined;

const starts = {
  registry: async (): Promise<string> => (await (registry ??= startRegistry())).url,
  kafka: async (): Promise<string> => (await (kafka ??= startKafka())).brokers[0] ?? '',
};

export async function serverOf(name: ServerName): Promise<string> {
  return starts[name]();
}

export async function closeServers(): Promise<void> {
  for (const server of await Promise.allSettled([registry, kafka]))
    if (server.status === 'fulfilled') await server.value?.[Symbol.asyncDispose]();
}
