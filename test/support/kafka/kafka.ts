/**
 * Real Kafka brokers for tests. Guarantee: once `startKafka` resolves, producers and consumers work at `brokers`; the broker ends with
 * `await using`, and at the latest with this process, however that ends. In a container where a Docker engine answers, else from
 * Maven's jars with Java (see provider.ts).
 */
import { kafkaProvider } from './provider.ts';
import type { KafkaOptions } from './server-properties.ts';

export type { KafkaListener, KafkaOptions } from './server-properties.ts';

export interface Kafka extends AsyncDisposable {
  readonly provider: 'docker' | 'java';
  /** The PLAINTEXT listener. A plain array, as kafkajs wants it. */
  readonly brokers: string[];
  /** host:port of a listener by its name. */
  listener(name: string): string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open, nothing answers. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** An orderly shutdown. */
  stop(): Promise<void>;
  /** Again after `kill` or `stop`, on the same data and ports. */
  start(): Promise<void>;
  log(): string | Promise<string>;
}

export async function startKafka(options: KafkaOptions = {}): Promise<Kafka> {
  const provider = await kafkaProvider();
  if (provider === undefined) throw new Error('no Kafka here: neither a Docker engine with its image, nor Java with Maven');
  if (provider === 'java') return (await import('./java-kafka.ts')).startJavaKafka(options);
  return (await import('./docker-kafka.ts')).startDockerKafka(options); // loads testcontainers, which is large
}

/** The address that `brokers` will have, for a certificate made before. */
export async function kafkaHost(): Promise<string> {
  return (await kafkaProvider()) === 'docker' ? (await import('./container.ts')).containerHost() : '127.0.0.1';
}
