/**
 * How kafkajs is set up, and what of it is mended. Guarantee: every client made here speaks through our logger, has explicit time
 * limits, and does not spin (mend-request-queue.ts).
 */
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import {
  Kafka,
  logLevel,
  type ISocketFactory,
  type KafkaConfig,
  type LogEntry,
  type Logger as KafkaLogger,
  type RetryOptions,
} from 'kafkajs';
import Cluster from 'kafkajs/src/cluster/index.js';
import loggers from 'kafkajs/src/loggers/index.js';
import socketFactory from 'kafkajs/src/network/socketFactory.js';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { mendRequestQueue } from './mend-request-queue.ts';
import { saslOf } from './sasl.ts';

/** Structurally the services' logger. */
export interface KafkaLog {
  debug(details: Readonly<Record<string, unknown>>, message: string): void;
  info(details: Readonly<Record<string, unknown>>, message: string): void;
  warn(details: Readonly<Record<string, unknown>>, message: string): void;
  error(details: Readonly<Record<string, unknown>>, message: string): void;
}

export interface ClientOptions {
  readonly clientId: string;
  readonly logger: KafkaLog;
}

export const REQUEST_TIMEOUT_MS = 30_000;
const CONNECTION_TIMEOUT_MS = 5_000;
const AUTHENTICATION_TIMEOUT_MS = 10_000;
/** Leaders are asked for again when a broker says that they changed; this is for the rest. */
const METADATA_MAX_AGE_MS = 300_000;
const RETRY: RetryOptions = { initialRetryTime: 100, maxRetryTime: 2_000, retries: 6 };

/** All that is needed to open connections, read once from the settings and its files. */
export interface KafkaClient {
  readonly kafka: Kafka;
  /** A connection pool of its own: nobody else's requests stand before those sent through it. */
  connections(): Cluster;
}

/** @throws PipelineError CF-3006 when a file of the settings cannot be read or an entry is missing. */
export async function openKafkaClient(settings: KafkaSettings, options: ClientOptions): Promise<KafkaClient> {
  const logCreator = () => (entry: LogEntry) => passOn(options.logger, entry);
  const ssl = await sslOf(settings);
  const sasl = settings.sasl === undefined ? undefined : saslOf(settings.sasl);
  const { clientId } = options;
  const config = {
    brokers: [...settings.brokers],
    clientId,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    authenticationTimeout: AUTHENTICATION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    enforceRequestTimeout: true,
    retry: RETRY,
  } satisfies KafkaConfig;
  const kafka = new Kafka({
    ...config,
    socketFactory: sockets,
    logLevel: logLevel.DEBUG,
    logCreator,
    ...(ssl !== undefined && { ssl }),
    ...(sasl !== undefined && { sasl }),
  });
  const logger: KafkaLogger = loggers.createLogger({ level: logLevel.INFO, logCreator });
  const connections = (): Cluster =>
    new Cluster({
      ...config,
      logger,
      socketFactory: sockets,
      ssl,
      sasl,
      metadataMaxAge: METADATA_MAX_AGE_MS,
      allowAutoTopicCreation: false,
      isolationLevel: 0,
    });
  return { kafka, connections };
}

/** Parts of kafkajs that call every attempt an error, also those repeated by themselves; what comes of them is thrown, or said by ours. */
const REPEATING = new Set(['Connection', 'BrokerPool', 'RequestQueue']);

function passOn(logger: KafkaLog, entry: LogEntry): void {
  const { message, timestamp: _, logger: __, stack: ___, ...details } = entry.log;
  const isTrouble = entry.level === logLevel.ERROR || entry.level === logLevel.WARN;
  const say = isTrouble && !REPEATING.has(entry.namespace) ? 'warn' : 'debug';
  logger[say]({ ...details, part: entry.namespace }, `kafka: ${message}`);
}

async function sslOf(settings: KafkaSettings): Promise<ConnectionOptions | boolean | undefined> {
  const { ssl } = settings;
  if (ssl === undefined || typeof ssl === 'boolean') return ssl === true ? true : undefined;
  const [ca, cert, key] = await Promise.all([pem(ssl.ca, 'ca'), pem(ssl.cert, 'cert'), pem(ssl.key, 'key')]);
  return { ...(ca !== undefined && { ca: [ca] }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
}

async function pem(path: string | undefined, entry: string): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new PipelineError('CF-3006', `log.kafka.ssl.${entry}: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Name a PEM file that this process can read.',
    });
  }
}

mendRequestQueue();

const plainSockets = socketFactory();

/**
 * kafkajs calls `unref` with every attempt on the last socket of a connection, also on one that was destroyed before it connected; Node
 * then waits for its connect event, with one listener more each time.
 */
const sockets: ISocketFactory = (options) => {
  const socket = plainSockets(options);
  socket.once('close', () => {
    socket.unref = () => socket;
  });
  return socket;
};
