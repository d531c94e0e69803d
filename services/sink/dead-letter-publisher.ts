/**
 * Tells others of rows set aside. Guarantee: each row that is set aside and still is when this looks is published at least once, after the
 * commit that set it aside, and again when it was refused with a new error; a topic that cannot be written never holds up the sink.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '#connectors/postgres/session.ts';
import type { DeadLetterRecord, DeadLetterTopic, LogPlace, PlacedRow } from '#connectors/change-log/dead-letter-topic.ts';
import { markPublished, readDeadLetters, type DeadLetter } from '#connectors/target/postgres/dead-letters.ts';
import { messageOf } from '#schemas/errors.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { Logger } from '#services/runtime/service.ts';

const LOOK_EVERY_MS = 1_000;
/** A batch stays below what Kafka takes: each row holds 64 KiB of values at most. */
const ROWS_PER_BATCH = 8;

export interface PublisherOptions {
  readonly targetUrl: string;
  readonly name: string;
  readonly topic: DeadLetterTopic;
  /** False while no row is set aside: the target is not asked then. */
  readonly pending: () => boolean;
  readonly logger: Logger;
}

export async function publishDeadLetters(options: PublisherOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted || !options.pending()) continue;
    try {
      await publishNew(options);
    } catch (error) {
      options.logger.warn({ error: messageOf(error) }, 'Rows set aside could not be published; trying again');
    }
  }
}

async function publishNew({ targetUrl, name, topic, logger }: PublisherOptions): Promise<void> {
  const client = await connect(targetUrl, { applicationName: `crossfade ${name} dlq`, role: 'target' });
  try {
    for (;;) {
      const letters = await readDeadLetters(client, name, { unpublished: true, limit: ROWS_PER_BATCH });
      if (letters.length === 0) return;
      const records: DeadLetterRecord[] = [];
      for (const letter of letters) records.push(recordOf(letter, name, await topic.placeOf(placed(letter))));
      await topic.publish(records);
      failpoint('dlq.published');
      await markPublished(client, letters);
      logger.info({ rows: letters.length }, 'Rows set aside were published');
    }
  } finally {
    await client.end();
  }
}

function placed({ source, key, logOffset }: DeadLetter): PlacedRow {
  return { from: { schema: source.schema, name: source.table }, key, logOffset };
}

function exceptionClass(state: string): string {
  if (state === '') return 'crossfade.Moved';
  return state.startsWith('CF-') ? `crossfade.${state}` : `postgresql.SQLSTATE.${state}`;
}

/** Kafka Connect's header names; a consumer of its dead letter queues reads ours as well. */
function recordOf(letter: DeadLetter, name: string, place: LogPlace): DeadLetterRecord {
  const { source, sqlState, message, constraint } = letter;
  const prefix = '__connect.errors.';
  const headers = {
    [`${prefix}topic`]: place.topic,
    [`${prefix}partition`]: String(place.partition),
    [`${prefix}offset`]: String(place.offset),
    [`${prefix}connector.name`]: name,
    [`${prefix}task.id`]: '0',
    [`${prefix}stage`]: letter.cause === 'mapping' ? 'TRANSFORMATION' : 'TASK_PUT',
    [`${prefix}class.name`]: 'crossfade.sink',
    [`${prefix}exception.class.name`]: exceptionClass(sqlState),
    [`${prefix}exception.message`]: message,
    [`${prefix}exception.stacktrace`]: `${message}\n  table ${letter.to}${constraint === null ? '' : `\n  constraint ${constraint}`}\n  cause ${letter.cause}`,
    'crossfade.id': letter.id,
    'crossfade.lsn': letter.lsn,
  };
  const value = {
    before: null,
    after: letter.values,
    source: { connector: 'postgresql', name, schema: source.schema, table: source.table, lsn: letter.lsn },
    op: letter.isDelete ? 'd' : 'u',
    ts_ms: Date.parse(letter.lastAt),
    key: letter.key,
    error: { sqlState, message, constraint, cause: letter.cause, attempts: letter.attempts },
  };
  return { key: JSON.stringify(letter.key), value: JSON.stringify(value), headers };
}
