/**
 * Follows the transactions that were writing when the slot was copied until they cannot hide any more (settle.ts). Guarantee: what
 * `remaining` leaves out had its commit record above the copy's start, or has none; what it names is never judged.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { invariant } from '#schemas/errors.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { aborted, hidden, type HiddenTransaction } from '#connectors/probe/postgres/settle.ts';
import { parseVisibility } from './visibility.ts';

const POLL_MS_MAX = 200;

export class Settler {
  readonly #client: pg.ClientBase;
  readonly #limit: bigint;
  readonly #relations: readonly number[];
  #left: readonly HiddenTransaction[] = [];

  /** @param limit Above every transaction id assigned before the slot was copied. @param relations That are compared. */
  constructor(client: pg.ClientBase, limit: bigint, relations: readonly number[]) {
    this.#client = client;
    this.#limit = limit;
    this.#relations = relations;
  }

  /** Returns when none is left, or after the time. Must return before the snapshot is taken. */
  async wait(settleMs: number, signal: AbortSignal): Promise<void> {
    if (!guarded('verify-hidden')) return;
    const deadline = performance.now() + settleMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, POLL_MS_MAX)) {
      this.#left = await hidden(this.#client, this.#limit, this.#relations);
      if (this.#left.length === 0 || performance.now() > deadline) return;
      await delay(pauseMs, undefined, { signal });
    }
  }

  /**
   * At the end of the comparison. @param streamed 32-bit ids that the copied slot brought so far. @param later The same, asked for now.
   * @returns relation → why it cannot be judged.
   */
  async remaining(streamed: ReadonlySet<bigint>, later: () => Promise<ReadonlySet<bigint>>): Promise<ReadonlyMap<number, string>> {
    let left = this.#left.filter(({ xid }) => !streamed.has(low32(xid)));
    if (left.length > 0) left = await this.#withoutRunning(left);
    if (left.length > 0) left = await this.#withoutEnded(left, later);
    const why = new Map<number, string>();
    for (const { xid, relations, waitsForStandby } of left) {
      const state = waitsForStandby ? 'is in the WAL and waits for a synchronous standby' : 'has been writing since before the comparison';
      for (const relation of relations) why.set(relation, `transaction ${xid} ${state}`);
    }
    return why;
  }

  /** Running and seen not committing at this moment: no commit record, then or now. */
  async #withoutRunning(left: readonly HiddenTransaction[]): Promise<HiddenTransaction[]> {
    const suspects = await hidden(this.#client, this.#limit, this.#relations);
    const row = await queryRow(this.#client, 'SELECT pg_current_snapshot()::text AS triple');
    invariant(row?.['triple'], 'a snapshot is never null');
    const { running, xmax } = parseVisibility(row['triple']);
    const suspected = new Set(suspects.map(({ xid }) => xid));
    return left.filter(({ xid }) => suspected.has(xid) || !(running.has(xid) || xid >= xmax));
  }

  async #withoutEnded(left: readonly HiddenTransaction[], later: () => Promise<ReadonlySet<bigint>>): Promise<HiddenTransaction[]> {
    const [gone, streamed] = [
      await aborted(
        this.#client,
        left.map(({ xid }) => xid),
      ),
      await later(),
    ];
    return left.filter(({ xid }) => !gone.has(xid) && !streamed.has(low32(xid)));
  }
}

function low32(xid: bigint): bigint {
  return BigInt.asUintN(32, xid);
}
