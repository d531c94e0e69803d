/**
 * What both formats say of where a row comes from. Guarantee: a source block of ours gives back the WireSource it was made of; of another's
 * what it lacks is 0.
 */
import type { WireSource } from './wire.ts';

/** As it is read. */
export interface ReadSource extends WireSource {
  /** Of a connector: its text of the last commit before this transaction, and of the row's own LSN. */
  readonly sequence?: string;
}

/** The commit before this one, for `sequence`; shared by the encoders of a process. */
export class CommitSequence {
  #commitLsn: bigint | undefined;
  #current = 'null';
  #text = '';

  /** Debezium's own: ["<LSN of the last commit>","<LSN>"]. */
  text(commitLsn: bigint): string {
    if (this.#commitLsn !== commitLsn) {
      this.#commitLsn = commitLsn;
      const last = this.#current;
      this.#current = `"${commitLsn}"`;
      this.#text = `[${last},${this.#current}]`;
    }
    return this.#text;
  }
}

function big(value: unknown): bigint {
  return typeof value === 'bigint' || typeof value === 'number' ? BigInt(value) : 0n;
}

/** Those that `sourceOf` looks at. */
export const SOURCE_FIELDS: ReadonlySet<string> = new Set(['ts_us', 'ts_ms', 'lsn', 'txId', 'snapshot', 'sequence']);

/** `fields`: the block as plain values. */
export function sourceOf(fields: unknown): ReadSource {
  const source = (fields ?? {}) as Readonly<Record<string, unknown>>;
  const micros = source['ts_us'] ?? undefined;
  const sequence = source['sequence'];
  return {
    commitLsn: BigInt.asUintN(64, big(source['lsn'])),
    commitTimeMicros: micros === undefined ? big(source['ts_ms']) * 1000n : big(micros),
    xid: Number(big(source['txId'])),
    snapshot: source['snapshot'] !== undefined && source['snapshot'] !== null && source['snapshot'] !== 'false',
    ...(typeof sequence === 'string' && { sequence }),
  };
}
