/**
 * The parts of kafkajs 2.2.4 that its own types leave out and that connection.ts and client.ts rely on. The version is pinned in
 * package.json: a new one is compared with this file first (README.md, "kafkajs").
 */
declare module 'kafkajs/src/cluster/index.js' {
  import type { logCreator, Logger, RetryOptions, SASLOptions, ISocketFactory } from 'kafkajs';
  import type { Socket } from 'node:net';
  import type { ConnectionOptions } from 'node:tls';

  interface Options {
    readonly logger: Logger;
    readonly socketFactory: ISocketFactory;
    readonly brokers: readonly string[];
    readonly ssl: ConnectionOptions | boolean | undefined;
    readonly sasl: SASLOptions | undefined;
    readonly clientId: string;
    readonly connectionTimeout: number;
    readonly authenticationTimeout: number;
    readonly requestTimeout: number;
    readonly enforceRequestTimeout: boolean;
    readonly metadataMaxAge: number;
    readonly retry: RetryOptions;
    readonly allowAutoTopicCreation: boolean;
    readonly isolationLevel: number;
  }

  /** `encode` is called when the request is about to be written; `decode` gets the response behind its correlation id. */
  export interface ProtocolRequest<T> {
    readonly request: {
      readonly apiKey: number;
      readonly apiVersion: number;
      readonly apiName: string;
      encode(): Promise<{ readonly buf: Buffer; readonly buffer: Buffer }>;
    };
    readonly response: {
      decode(payload: Buffer): Promise<T & { readonly clientSideThrottleTime: number | null }>;
      parse(decoded: T): Promise<T>;
    };
    readonly requestTimeout?: number;
    readonly logResponseError?: boolean;
  }

  export interface Connection {
    readonly socket?: Socket;
    rejectRequests(error: Error): void;
  }

  export interface Broker {
    readonly versions: Readonly<Record<string, { readonly minVersion: number; readonly maxVersion: number } | undefined>>;
    readonly connectionPool: {
      readonly pool: readonly Connection[];
      send<T>(request: ProtocolRequest<T>): Promise<T>;
    };
    disconnect(): Promise<void>;
    offsetCommit(commit: {
      readonly groupId: string;
      readonly groupGenerationId: number;
      readonly memberId: string;
      readonly topics: readonly {
        readonly topic: string;
        readonly partitions: readonly { readonly partition: number; readonly offset: string; readonly metadata?: string }[];
      }[];
    }): Promise<unknown>;
  }

  /** Made anew with every refresh. */
  export interface Metadata {
    readonly topicMetadata: readonly {
      readonly topic: string;
      readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
    }[];
  }

  export default class Cluster {
    constructor(options: Options);
    readonly brokerPool: {
      readonly brokers: Readonly<Record<string, Broker>>;
      readonly seedBroker?: Broker;
      readonly metadata: Metadata | null;
    };
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    isConnected(): boolean;
    addMultipleTargetTopics(topics: readonly string[]): Promise<void>;
    refreshMetadata(): Promise<void>;
    findBroker(which: { readonly nodeId: number }): Promise<Broker>;
    findGroupCoordinator(which: { readonly groupId: string }): Promise<Broker>;
  }
}

declare module 'kafkajs/src/loggers/index.js' {
  import type { logCreator, Logger, logLevel } from 'kafkajs';
  const loggers: { createLogger(options: { readonly level: logLevel; readonly logCreator: logCreator }): Logger };
  export default loggers;
}

declare module 'kafkajs/src/network/socketFactory.js' {
  import type { ISocketFactory } from 'kafkajs';
  const socketFactory: () => ISocketFactory;
  export default socketFactory;
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    readonly pending: readonly unknown[];
    readonly throttledUntil: number;
    throttleCheckTimeoutId: NodeJS.Timeout | null;
    scheduleCheckPendingRequests(): void;
    checkPendingRequests(): void;
  }
}
