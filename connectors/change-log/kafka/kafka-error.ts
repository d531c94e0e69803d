/**
 * Kafka's failures in our words. Guarantee: whatever kafkajs or a broker reports becomes a PipelineError: CF-3006 what the operator's
 * settings or rights cause, CF-3005 a record too large, CF-3001 everything that may pass by itself.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PipelineError } from '#schemas/errors.ts';

/** Error codes of the protocol that are told apart here. */
export const KAFKA = {
  none: 0,
  offsetOutOfRange: 1,
  corruptMessage: 2,
  unknownTopic: 3,
  messageTooLarge: 10,
  recordListTooLarge: 18,
  topicAuthorizationFailed: 29,
  clusterAuthorizationFailed: 31,
} as const;

const NAMES: Readonly<Record<number, string>> = {
  1: 'OFFSET_OUT_OF_RANGE',
  2: 'CORRUPT_MESSAGE',
  3: 'UNKNOWN_TOPIC_OR_PARTITION',
  5: 'LEADER_NOT_AVAILABLE',
  6: 'NOT_LEADER_OR_FOLLOWER',
  7: 'REQUEST_TIMED_OUT',
  10: 'MESSAGE_TOO_LARGE',
  17: 'INVALID_TOPIC_EXCEPTION',
  18: 'RECORD_LIST_TOO_LARGE',
  19: 'NOT_ENOUGH_REPLICAS',
  20: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  29: 'TOPIC_AUTHORIZATION_FAILED',
  31: 'CLUSTER_AUTHORIZATION_FAILED',
  45: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
  47: 'INVALID_PRODUCER_EPOCH',
  44: 'POLICY_VIOLATION',
  56: 'KAFKA_STORAGE_ERROR',
  74: 'FENCED_LEADER_EPOCH',
  76: 'UNSUPPORTED_COMPRESSION_TYPE',
  87: 'INVALID_RECORD',
};

export function nameOfCode(code: number): string {
  return NAMES[code] ?? `error ${code}`;
}

const SETTINGS_TYPES = new Set([
  'SASL_AUTHENTICATION_FAILED',
  'UNSUPPORTED_SASL_MECHANISM',
  'ILLEGAL_SASL_STATE',
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'SECURITY_DISABLED',
  'POLICY_VIOLATION',
  'INVALID_CONFIG',
  'INVALID_TOPIC_EXCEPTION',
  'INVALID_REPLICATION_FACTOR',
  'UNSUPPORTED_VERSION',
  'UNSUPPORTED_COMPRESSION_TYPE',
]);
const TOO_LARGE_TYPES = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);
/** Node's codes for a certificate that is refused, or a peer that does not speak TLS. */
const TLS_CODE = /^(ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|HOSTNAME_MISMATCH)/;

const UNREACHABLE = 'Check that the brokers under log.kafka.brokers run and can be reached; it goes on by itself.';

/** `doing` completes "Kafka: … failed". */
export function kafkaError(error: unknown, doing: string): PipelineError {
  const chain = causesOf(error);
  const ours = chain.find((cause) => cause instanceof PipelineError);
  if (ours instanceof PipelineError) return ours;
  const types = chain.map(typeOf);
  const why = messageOf(chain.at(-1));
  const settings = chain.find((cause, index) => SETTINGS_TYPES.has(types[index] ?? '') || isRefused(cause));
  if (settings !== undefined) return new PipelineError('CF-3006', `Kafka: ${doing} failed: ${messageOf(settings)}`, { cause: error });
  if (types.some((type) => TOO_LARGE_TYPES.has(type ?? ''))) {
    return new PipelineError('CF-3005', `Kafka: ${doing} failed: ${why}`, { cause: error });
  }
  if (types.includes('OFFSET_OUT_OF_RANGE')) return new PipelineError('CF-3003', `Kafka: ${doing} failed: ${why}`, { cause: error });
  return new PipelineError('CF-3001', `Kafka: ${doing} failed: ${why}`, { cause: error, remedy: UNREACHABLE });
}

/** Of an error code in an answer. */
export function codeError(code: number, doing: string): PipelineError {
  const message = `Kafka: ${doing} failed: ${nameOfCode(code)}`;
  const details = { kafkaCode: code };
  if (SETTINGS_TYPES.has(nameOfCode(code))) return new PipelineError('CF-3006', message, { details });
  if (code === KAFKA.messageTooLarge || code === KAFKA.recordListTooLarge) {
    return new PipelineError('CF-3005', `${message} (it is larger than max.message.bytes of that topic)`, { details });
  }
  return new PipelineError('CF-3001', message, { details, remedy: UNREACHABLE });
}

/** The broker itself said so: the connection is as good as before. */
export function isAnswered(error: PipelineError): boolean {
  return 'kafkaCode' in error.details;
}

export function isUnknownTopic(error: unknown): boolean {
  return error instanceof PipelineError && error.details['kafkaCode'] === KAFKA.unknownTopic;
}

const PATIENCE_MS = 15_000;
const PATIENCE_PAUSE_MS = 250;

/**
 * A question that changes nothing, asked again while leaders move and brokers restart; kafkajs gives up at the first of some answers that
 * are true for a moment only.
 */
export async function patiently<T>(doing: string, ask: () => Promise<T>): Promise<T> {
  const untilMs = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const failure = kafkaError(error, doing);
      if (failure.code !== 'CF-3001' || Date.now() > untilMs) throw failure;
      await pause(PATIENCE_PAUSE_MS);
    }
  }
}

/** kafkajs wraps what happened: in `cause`, `originalError`, or a list of `errors`. */
function causesOf(error: unknown): unknown[] {
  const chain: unknown[] = [];
  let at: unknown = error;
  while (at !== undefined && at !== null && !chain.includes(at)) {
    chain.push(at);
    at = inner(at);
  }
  return chain;
}

function inner(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('partitions' in error && Array.isArray(error.partitions) && error.partitions.length > 0) return inner(error.partitions[0]);
  if ('error' in error && error.error instanceof Error) return error.error;
  if ('errors' in error && Array.isArray(error.errors) && error.errors.length > 0) return error.errors[0];
  if ('originalError' in error && error.originalError !== undefined) return error.originalError;
  return 'cause' in error ? error.cause : undefined;
}

export function typeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'type' in error && typeof error.type === 'string' ? error.type : undefined;
}

function isRefused(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'KafkaJSSASLAuthenticationError' || error.name === 'KafkaJSServerDoesNotSupportApiKey') return true;
  return 'code' in error && typeof error.code === 'string' && TLS_CODE.test(error.code);
}
