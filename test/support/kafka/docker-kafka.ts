/** A broker in a container. Guarantee: as java-kafka.ts; ports are fixed beforehand, because the broker tells them to its clients. */
import { setTimeout as delay } from 'node:timers/promises';
import { GenericContainer, Wait } from 'testcontainers';
import { containerHost, ServerContainer } from './container.ts';
import type { Kafka } from './kafka.ts';
import { freePort } from './ports.ts';
import { KAFKA_IMAGE } from './provider.ts';
import { groupCoordinatorAnswers } from './readiness.ts';
import { formatArguments, type KafkaOptions, serverProperties } from './server-properties.ts';

const START_TIMEOUT_MS = 90_000;
const POLL_MS = 100;
const CONTROLLER_PORT = 9093; // inside
const DATA_DIR = '/tmp/crossfade-data';
const PROPERTIES_FILE = '/tmp/crossfade.properties';
const KAFKA_BIN = '/opt/kafka/bin';
const HEAP_MB = 384;

export async function startDockerKafka(options: KafkaOptions): Promise<Kafka> {
  const ports: Record<string, number> = {};
  for (const name of ['PLAINTEXT', ...Object.keys(options.listeners ?? {})]) ports[name] = await freePort();
  const host = await containerHost();
  const place = { dataDir: DATA_DIR, bind: '0.0.0.0', host, controllerPort: CONTROLLER_PORT, ports };
  const container = await ServerContainer.start(
    new GenericContainer(KAFKA_IMAGE)
      .withCopyContentToContainer([{ content: serverProperties(options, place), target: PROPERTIES_FILE, mode: 0o644 }])
      .withEntrypoint(['sh', '-c', script(options)])
      .withEnvironment({ KAFKA_HEAP_OPTS: `-Xms48m -Xmx${options.heapMb ?? HEAP_MB}m` })
      .withExposedPorts(...Object.values(ports).map((port) => ({ container: port, host: port })))
      .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
      .withStartupTimeout(START_TIMEOUT_MS),
  );
  const broker = new DockerKafka(container, host, ports);
  try {
    await broker.untilReady();
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
  return broker;
}

function script(options: KafkaOptions): string {
  const format = formatArguments(options, PROPERTIES_FILE).map((argument) => `'${argument.replaceAll("'", String.raw`'\''`)}'`);
  return [
    `[ -f ${DATA_DIR}/meta.properties ] || ${KAFKA_BIN}/kafka-storage.sh ${format.join(' ')} || exit 1`,
    `exec ${KAFKA_BIN}/kafka-server-start.sh ${PROPERTIES_FILE}`,
  ].join('\n');
}

class DockerKafka implements Kafka {
  readonly provider = 'docker';
  readonly #container: ServerContainer;
  readonly #host: string;
  readonly #ports: Readonly<Record<string, number>>;

  constructor(container: ServerContainer, host: string, ports: Readonly<Record<string, number>>) {
    this.#container = container;
    this.#host = host;
    this.#ports = ports;
  }

  get brokers(): string[] {
    return [this.listener('PLAINTEXT')];
  }

  listener(name: string): string {
    return `${this.#host}:${this.#ports[name]}`;
  }

  async untilReady(): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await groupCoordinatorAnswers(this.listener('PLAINTEXT')))) {
      if (Date.now() > deadline) throw new Error(`Kafka was not ready in ${START_TIMEOUT_MS} ms:\n${(await this.log()).slice(-4000)}`);
      await delay(POLL_MS);
    }
  }

  async start(): Promise<void> {
    await this.#container.startAgain();
    await this.untilReady();
  }

  async stop(): Promise<void> {
    await this.#container.stop();
  }

  async kill(): Promise<void> {
    await this.#container.kill();
  }

  async pause(): Promise<void> {
    await this.#container.pause();
  }

  async resume(): Promise<void> {
    await this.#container.resume();
  }

  async log(): Promise<string> {
    return this.#container.log();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#container[Symbol.asyncDispose]();
  }
}
