/**
 * Applies rounds to Redis. Guarantee: rows first, each only forward (scripts.ts), then the progress that covers them; so a round that was cut
 * off is applied again from the stored progress, and ends the same. There is no transaction: readers see rows as they come.
 */
import { failpoint, guarded } from '#schemas/test-hooks.ts';
import { hashTag } from '#schemas/mapping/redis/key-template.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { formatLsn } from '#schemas/lsn.ts';
import type { RowFault } from '#schemas/mapping/unmappable-row.ts';
import type { Held, Position, Round, RoundOutcome, TargetEvents, TargetSession, Work } from '#connectors/target/target.ts';
import type { ScriptCalls } from './calls.ts';
import type { RedisClient } from './connection.ts';
import { fenceKey, slotOf } from './slots.ts';
import { Packer, packTexts } from './packer.ts';
import { placeText } from './place-text.ts';
import { writeProgress, type ProgressState } from './progress.ts';
import { DROP_GUARDS, SWEEP_ROWS, WRITE_ROWS } from './scripts.ts';
import { tableKeys } from './table-keys.ts';
import { rowsOf, type PackedRows, type RowSource } from './work-rows.ts';

/** Guards outlive the progress that has passed them by so long: for a fail-over that loses the newest progress. */
const GUARD_MARGIN_MS = 60_000;
/** Within a transaction of any size no progress comes: beyond so many the oldest are given a day. */
const GUARDS_MAX = 200_000;
const GUARD_LONG_MS = 86_400_000;
const GUARDS_PER_CALL = 1_000;

export interface SessionOptions {
  readonly name: string;
  readonly client: RedisClient;
  readonly calls: ScriptCalls;
  readonly isCluster: boolean;
  readonly state: ProgressState;
  readonly generation: string;
  readonly epoch: bigint;
  readonly onMissing: TargetEvents['onMissing'];
  /** Of a lane: its tables. Undefined: the one session of the consistent mode. */
  readonly tables?: readonly TableMapping[];
  readonly logOffset?: number | undefined;
}

export class RedisSession implements TargetSession {
  readonly #options: SessionOptions;
  readonly #epoch: string;
  #offset: string;
  readonly #packer = new Packer();
  /** Since the last progress: guards of rows that went, and tables that were held. */
  #guards: string[] = [];
  #held: Held[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#epoch = String(options.epoch);
    this.#offset = options.logOffset === undefined ? '' : String(options.logOffset);
  }

  async apply(round: Round): Promise<RoundOutcome> {
    const { calls, state, onMissing } = this.#options;
    failpoint('sink.begin');
    const held: Held[] = [];
    const missing: Missing[] = [];
    for (const [i, work] of round.work.entries()) {
      if (held.some(({ table }) => table === work.table)) continue;
      await this.#write(work, placeText(round.places[i]!), { held, missing });
    }
    await calls.settled();
    failpoint('sink.applied');
    const rows = missing.map(({ table, rows: source, entries }) => ({ table, keys: entries.map((entry) => source.keyValues(entry)) }));
    for (const { table, keys } of rows) await onMissing(table, keys);
    this.#held.push(...held);
    const outcome: RoundOutcome = { held, setAside: [], missing: rows, collided: [] };
    if (round.commit === undefined) {
      if (this.#guards.length > GUARDS_MAX) this.#dropGuards(GUARD_LONG_MS);
      return outcome;
    }
    state.take(round);
    for (const one of this.#held) state.hold(one, round.commit);
    const committed = this.#commit(round, round.commit);
    failpoint('sink.commit');
    await committed;
    this.#held = [];
    failpoint('sink.committed');
    this.#dropGuards(GUARD_MARGIN_MS);
    return outcome;
  }

  async #commit(round: Round, { offset, lsn, commitTimeMs }: Position): Promise<void> {
    const { calls, state, tables } = this.#options;
    const { epoch, source, markers } = { epoch: this.#epoch, ...round };
    if (tables !== undefined) {
      state.advance(tables, round.commit!);
      await writeProgress(calls, state, { epoch, expected: '', fields: {}, markers: [] });
      return;
    }
    const fields = {
      appliedLsn: formatLsn(lsn),
      logOffset: String(offset),
      commitTimeMs: String(commitTimeMs),
      ...(source !== undefined && { systemId: source.systemId, timeline: String(source.timeline) }),
    };
    await writeProgress(calls, state, { epoch, expected: this.#offset, fields, markers });
    this.#offset = String(offset);
  }

  async #write(work: Work, place: string, found: Found): Promise<void> {
    const { calls, state, isCluster } = this.#options;
    // A key stands in one call at a time, also where a cluster's client sends a call again.
    if (isCluster) await calls.settled();
    const emptied = work.kind === 'fold' ? work.truncatedAt : work.kind === 'chunk' && work.truncate ? place : undefined;
    if (emptied !== undefined) await this.#empty(work.table, typeof emptied === 'string' ? emptied : placeText(emptied));
    if (place < state.floorOf(work.table)) return;
    const fault = unmappedIn(work);
    if (fault !== undefined) {
      found.held.push({ table: work.table, key: '', message: `${fault.code}: ${fault.message}` });
      return;
    }
    const source = rowsOf(work, this.#options, this.#packer);
    for (const rows of source.calls()) await this.#send(work, { place, source, rows, found });
  }

  async #send(work: Work, { place, source, rows, found }: SentRows): Promise<void> {
    const { table } = work;
    const strict = work.kind === 'fold' && work.strict;
    const options = `${table.existing === 'merge' ? 'm' : ''}${strict ? 's' : ''}${guarded('place') ? '' : 'u'}`;
    const args = [...this.#common(table, place), String(table.redis!.ttlSeconds ?? 0), options, rows.packed];
    const partial = rows.partial;
    if (partial.length > 0) found.missing.push({ table, rows: source, entries: partial });
    if (rows.entries.length === 0) return;
    const call = { script: WRITE_ROWS, keys: [this.#fence(rows.slot)], args };
    const { calls } = this.#options;
    await calls.send(call, rows.packed.length, (answer) => {
      const [, missing, refused] = answer as [number, number[], (number | string)[]];
      if (missing.length > 0) found.missing.push({ table, rows: source, entries: missing.map((i) => rows.entries[i]!) });
      if (refused.length > 0) {
        const [first, message] = refused as [number, string];
        found.held.push({ table, key: source.keyOf(rows.entries[first]!), message });
      }
      for (const key of rows.left) this.#guards.push(key);
    });
  }

  #common(table: TableMapping, place: string): string[] {
    const { generation, state } = this.#options;
    const { key, form } = table.redis!;
    return [this.#epoch, generation, place, form, state.keys.guards, hashTag(key) === undefined ? '0' : '1'];
  }

  /** The row that this call's epoch is compared with. */
  #fence(slot: number): string {
    const { isCluster, name, state } = this.#options;
    return isCluster ? fenceKey(name, slot) : state.keys.progress;
  }

  /** Removes the table's rows of before `place`. The floor comes first: rows below it are not written any more, at any later start. */
  async #empty(table: TableMapping, place: string): Promise<void> {
    const { calls, state } = this.#options;
    await calls.settled();
    state.raiseFloor(table, place);
    await writeProgress(calls, state, { epoch: this.#epoch, expected: '', fields: {}, markers: [] });
    await this.sweep(table, place);
  }

  async sweep(table: TableMapping, place: string): Promise<void> {
    const { calls, client, isCluster } = this.#options;
    for await (const keys of tableKeys(client, table.redis!)) {
      const groups = isCluster ? Map.groupBy(keys, slotOf) : new Map([[0, keys]]);
      for (const [slot, own] of groups) {
        const packed = packTexts(own);
        const args = [...this.#common(table, place), packed];
        await calls.send({ script: SWEEP_ROWS, keys: [this.#fence(slot)], args }, packed.length, () => undefined);
      }
    }
    await calls.settled();
  }

  /** What no start from the stored progress can meet again. On the same connection: before anything that is written later. */
  #dropGuards(marginMs: number): void {
    const { calls, isCluster } = this.#options;
    const guards = this.#guards;
    this.#guards = [];
    const groups = isCluster ? Map.groupBy(guards, slotOf) : new Map([[0, guards]]);
    for (const [slot, keys] of groups) {
      for (let from = 0; from < keys.length; from += GUARDS_PER_CALL) {
        const packed = packTexts(keys.slice(from, from + GUARDS_PER_CALL));
        const call = { script: DROP_GUARDS, keys: [this.#fence(slot)], args: [this.#epoch, String(marginMs), packed] };
        // A guard that is not dropped costs memory, and nothing else.
        calls.run(call).catch(() => undefined);
      }
    }
  }

  /** Parts that were applied stay: a transaction is only in the log once it is committed, and comes again as a whole. */
  async rollback(): Promise<void> {
    await this.#options.calls.settled();
  }

  async close(): Promise<void> {
    if (this.#options.tables !== undefined) this.#options.client.disconnect();
  }
}

/** Why a row of the work could not be mapped: nothing is set aside here, so the table is held before any of the work is written. */
function unmappedIn(work: Work): RowFault | undefined {
  if (work.kind === 'keys') return undefined;
  return work.kind === 'chunk' ? work.unmapped[0]?.fault : work.unmapped.values().next().value?.fault;
}

interface Missing {
  readonly table: TableMapping;
  readonly rows: RowSource;
  readonly entries: readonly number[];
}

interface Found {
  readonly held: Held[];
  readonly missing: Missing[];
}

interface SentRows {
  readonly place: string;
  readonly source: RowSource;
  readonly rows: PackedRows;
  readonly found: Found;
}
