/**
 * The one door to kafkajs's broker connections. Guarantee: requests sent to one broker through one `Connections` are written in the
 * order of `send` calls, and answered or failed; after `drop` none of them is pending.
 *
 * Relied on of kafkajs 2.2.4 (README.md says why): Cluster (metadata, connecting, SASL), Broker.connectionPool.send with request objects
 * of ours, Connection.rejectRequests and .socket.
 */
import type Cluster from 'kafkajs/src/cluster/index.js';
import type { Broker, Metadata, ProtocolRequest } from 'kafkajs/src/cluster/index.js';
import { PipelineError } from '#schemas/errors.ts';
import type { KafkaClient } from './client.ts';
import { codeError, KAFKA, kafkaError, typeOf } from './kafka-error.ts';

/** A request with its encoded body, and how its answer is read. */
export interface WireRequest<T> {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
  readonly body: Buffer;
  read(answer: Buffer): T;
  /** Added to the usual limit: how long the broker may hold the request back. */
  readonly holdMs?: number;
}

/** What a request was answered; `written` resolves when it is in the socket's queue. */
export interface Sent<T> {
  readonly written: Promise<void>;
  readonly answer: Promise<T>;
}

export class Connections {
  readonly #client: KafkaClient;
  readonly #requestTimeoutMs: number;
  #cluster: Cluster;
  #topics = new Set<string>();
  readonly #leaders = new Map<string, readonly number[]>();
  /** What `#leaders` was made of. */
  #indexed: Metadata | null = null;
  #connected = false;
  #closed = false;

  constructor(client: KafkaClient, requestTimeoutMs: number) {
    this.#client = client;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.#cluster = client.connections();
  }

  /** Makes the leaders of these topics known. @throws PipelineError with `isUnknownTopic` when there is none of that name, or not yet. */
  async know(topics: readonly string[]): Promise<void> {
    if (this.#connected && topics.every((topic) => this.#topics.has(topic))) return;
    await this.#connect();
    try {
      await this.#cluster.addMultipleTargetTopics([...new Set([...this.#topics, ...topics])]);
    } catch (error) {
      if (typeOf(error) !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error;
      // kafkajs asks for all it ever heard of: one that was removed must not stand in the way of these for ever.
      if (this.#topics.size > 0) this.drop('a topic was removed');
      throw codeError(KAFKA.unknownTopic, `asking for the leaders of ${topics.join(', ')}`);
    }
    for (const topic of topics) this.#topics.add(topic);
  }

  /** Asks for the leaders again. */
  async refresh(): Promise<void> {
    await this.#connect();
    await this.#cluster.addMultipleTargetTopics([...this.#topics]);
    await this.#cluster.refreshMetadata();
  }

  /** Undefined while none is known. */
  leader(topic: string, partition: number): number | undefined {
    const leader = this.#leadersOf(topic)?.[partition];
    return leader === undefined || leader < 0 ? undefined : leader;
  }

  partitions(topic: string): number {
    return this.#leadersOf(topic)?.length ?? 0;
  }

  async send<T>(nodeId: number, request: WireRequest<T>): Promise<Sent<T>> {
    const cluster = this.#cluster;
    const broker = await cluster.findBroker({ nodeId });
    return this.#sendTo(broker, request, () => this.#closed || cluster !== this.#cluster);
  }

  async coordinator(groupId: string): Promise<Broker> {
    await this.#connect();
    return this.#cluster.findGroupCoordinator({ groupId });
  }

  /** Ends all connections at once; what is pending fails. The next use connects again. */
  drop(why: string): void {
    const old = this.#cluster;
    this.#cluster = this.#client.connections();
    this.#connected = false;
    this.#topics = new Set();
    end(old, why);
  }

  /** Ends the connections to one broker; what is pending there fails. */
  reset(nodeId: number, why: string): void {
    const broker = this.#cluster.brokerPool.brokers[nodeId];
    if (broker !== undefined) endBroker(broker, why);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    end(this.#cluster, 'closed');
  }

  /** kafkajs keeps lists; with many topics, searching them for every fetch would cost more than the fetch. */
  #leadersOf(topic: string): readonly number[] | undefined {
    const { metadata } = this.#cluster.brokerPool;
    if (metadata === null) return undefined;
    if (metadata !== this.#indexed) {
      this.#indexed = metadata;
      this.#leaders.clear();
      for (const { topic: name, partitionMetadata } of metadata.topicMetadata) {
        const leaders: number[] = [];
        for (const { partitionId, leader } of partitionMetadata) leaders[partitionId] = leader;
        this.#leaders.set(name, leaders);
      }
    }
    return this.#leaders.get(topic);
  }

  async #connect(): Promise<void> {
    if (this.#closed) throw new PipelineError('CF-3001', 'Kafka: the connection was closed by us');
    if (this.#connected) return;
    const cluster = this.#cluster;
    await cluster.connect();
    if (cluster === this.#cluster) this.#connected = true;
  }

  #sendTo<T>(broker: Broker, request: WireRequest<T>, isDropped: () => boolean): Sent<T> {
    const { apiKey, apiVersion, apiName, body } = request;
    const supported = broker.versions[apiKey]?.maxVersion ?? -1;
    if (supported < apiVersion) {
      throw new PipelineError('CF-3006', `Kafka: the broker is too old: ${apiName} version ${apiVersion} is needed, it has ${supported}`, {
        remedy: 'Use Kafka 2.3 or later.',
      });
    }
    const written = Promise.withResolvers<void>();
    const protocol: ProtocolRequest<{ readonly result: T }> = {
      request: {
        apiKey,
        apiVersion,
        apiName,
        // From here to the socket kafkajs takes the same few steps for every request, so their order is settled.
        encode: async () => {
          written.resolve();
          if (isDropped()) throw new PipelineError('CF-3001', `Kafka: ${apiName} was not sent: the connection was given up`);
          return { buf: body, buffer: body };
        },
      },
      response: {
        decode: async (answer) => ({ result: request.read(answer), clientSideThrottleTime: null }),
        parse: async (decoded) => decoded,
      },
      requestTimeout: this.#requestTimeoutMs + (request.holdMs ?? 0),
      logResponseError: false,
    };
    const answer = broker.connectionPool.send(protocol).then(
      ({ result }) => result,
      (error: unknown) => {
        written.resolve();
        throw kafkaError(error, apiName);
      },
    );
    answer.catch(() => undefined); // whoever waits for it hears of it; nobody may wait any more
    return { written: written.promise, answer };
  }
}

function end(cluster: Cluster, why: string): void {
  for (const broker of new Set([...Object.values(cluster.brokerPool.brokers), cluster.brokerPool.seedBroker])) {
    if (broker !== undefined) endBroker(broker, why);
  }
  cluster.disconnect().catch(() => undefined);
}

function endBroker(broker: Broker, why: string): void {
  for (const connection of broker.connectionPool.pool) {
    connection.rejectRequests(new Error(why));
    connection.socket?.destroy();
  }
  broker.disconnect().catch(() => undefined);
}
