/**
 * Copies keys that are set aside again. Guarantee: the rows go through the running pipeline between watermarks like any re-copy, so no
 * newer change is overwritten; the answer is what the target still refuses once everything asked for is applied.
 */
import type { DeadLetter } from '#connectors/target/postgres/dead-letters.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { RecopyBody } from '#schemas/status/control-request.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { Control } from './instance-command.ts';

const WAIT_MS = 600_000;
/** As many as a record of Kafka takes with room to spare. */
const KEYS_PER_REQUEST = 1_000;

export interface Retry {
  readonly letters: readonly DeadLetter[];
  readonly instance: Pick<Control, 'recopy' | 'marker'>;
  /** All rows that are set aside now. */
  readonly read: () => Promise<readonly DeadLetter[]>;
  readonly logger: Logger;
}

/** @returns those refused again. @throws PipelineError CF-6003 when the re-copy was not applied in time; it goes on by itself. */
export async function retryDeadLetters({ letters, instance, read, logger }: Retry): Promise<readonly DeadLetter[]> {
  for (let open = letters; ;) {
    for (const request of requestsFor(open)) await instance.recopy(request);
    logger.info({ rows: open.length }, 'asked for a re-copy of rows set aside');
    const { applied } = await instance.marker({ waitMs: WAIT_MS, afterCopy: true });
    if (!applied) throw new PipelineError('CF-6003', 'the rows asked for are not applied yet; the re-copy goes on');
    const asked = new Set(open.map(placeOf));
    const refused = (await read()).filter((letter) => asked.has(placeOf(letter)));
    // A row may have waited for another one of these: again, as long as that helps.
    const waits = refused.some(({ sqlState }) => /^23(503|505|P01)$/.test(sqlState));
    if (!waits || refused.length === open.length) return refused;
    open = refused;
  }
}

/** The same row may be set aside for several targets. */
function placeOf({ from, to, key }: DeadLetter): string {
  return JSON.stringify([from, to, key]);
}

function requestsFor(letters: readonly DeadLetter[]): RecopyBody[] {
  const requests: RecopyBody[] = [];
  for (const group of Map.groupBy(letters, ({ from }) => from).values()) {
    const { schema, table } = group[0]!.source;
    const all = [...new Map(group.map(({ key }) => [JSON.stringify(key), [...key]])).values()];
    for (let i = 0; i < all.length; i += KEYS_PER_REQUEST) {
      const keys = all.slice(i, i + KEYS_PER_REQUEST);
      requests.push({ kind: 'keys', schema, table, keys, reason: 'crossfade dlq retry' });
    }
  }
  return requests;
}
