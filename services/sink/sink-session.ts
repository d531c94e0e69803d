/**
 * One run of the sink over the log, from taking over the target to the first failure. Guarantee: nothing it holds in memory outlives
 * it; the next session starts from what the target's progress rows say, so a lost answer, a deadlock or a dead connection is repaired
 * by starting again.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cursor, Offset, ReadBatch } from '#connectors/change-log/change-log.ts';
import type { Grain, Position, Round, RoundOutcome, TableProgress } from '#connectors/target/target.ts';
import { ConsistentKeeper, LaneKeeper } from '#connectors/target/postgres/progress.ts';
import type { Target } from '#connectors/target/postgres/open-target.ts';
import { changeOver } from '#connectors/target/postgres/change-over.ts';
import { PipelineError } from '#schemas/errors.ts';
import { decodeJsonFrame, type CopyCompleteFrame, type TableStateFrame } from '#schemas/frame/frame.ts';
import { maxLsn, minLsn, parseLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { Decoder } from './decoder.ts';
import { FrameScanner, type FrameUnit, type Unit } from './frame-scanner.ts';
import { Lane } from './lane.ts';
import { readRelations } from './relation-records.ts';
import type { SinkOptions } from './sink.ts';
import { SinkTable } from './sink-table.ts';

/** Reading begins a little below what is applied: the duplicate rule, not an offset alone, decides what is applied again. */
const REREAD_RECORDS = 256;
/** The event loop is left to others (the reader's socket above all) after so long. */
const TURN_MS = 4;
const TICK_MS = 1_000;

/** After a round that the target could not take as it was folded. */
export interface FinerGrain {
  readonly grain: Grain;
  readonly until: Offset;
}

export interface SessionEvents {
  readonly onCommitted: (position: Position, markers: readonly string[], consistent: boolean) => void;
  readonly onHeld: (table: TableMapping, message: string) => void;
}

export class SinkSession {
  readonly #options: SinkOptions;
  readonly #target: Target;
  readonly #events: SessionEvents;
  readonly #tables = new Map<string, SinkTable>();
  #lanes: Lane[] = [];
  #decoder!: Decoder;
  #scanner = new FrameScanner();
  #consistent = false;
  /** Markers met before the change-over wait for it. */
  #markers: string[] = [];
  /** Rounds are kept this small until decoding has passed the offset. */
  #finer: FinerGrain | undefined;
  #error: unknown;
  #stop = new AbortController();
  #paused = 0;

  constructor(options: SinkOptions, target: Target, events: SessionEvents, finer?: FinerGrain) {
    this.#options = options;
    this.#finer = finer;
    if (finer?.grain === 'change') this.#scanner = new FrameScanner(1);
    this.#target = target;
    this.#events = events;
  }

  get consistent(): boolean {
    return this.#consistent;
  }

  get tables(): Iterable<SinkTable> {
    return this.#tables.values();
  }

  /** Where decoding stands: at or above the end of whatever was handed to a lane. */
  get decoded(): Offset {
    return this.#decoder.offset;
  }

  table(id: string): SinkTable | undefined {
    return this.#tables.get(id);
  }

  /** Runs until `signal` (then applies what is gathered) or the first failure. */
  async run(signal: AbortSignal): Promise<void> {
    const from = this.#target.progress.mode === 'consistent' ? await this.#startConsistent() : await this.#startParallel();
    const { raw } = this.#options;
    if (from.offset > raw.end(0)) {
      throw new PipelineError('CF-5006', `the target has applied the log up to record ${from.offset}, but the log ends at ${raw.end(0)}`);
    }
    for (const relation of await readRelations(this.#options.progress, from.offset)) this.#decoder.learn(relation);
    const cursor = raw.read(0, Math.max(raw.start(0), from.offset - REREAD_RECORDS));
    const ticks = setInterval(() => this.#tick(), TICK_MS);
    try {
      await this.#follow(cursor, AbortSignal.any([signal, this.#stop.signal]));
      if (this.#error === undefined) await this.#drain();
      this.#tick();
      if (this.#error === undefined) await this.#drain();
    } finally {
      clearInterval(ticks);
      await cursor.close();
      for (const lane of this.#lanes) await lane.close();
    }
    if (this.#error !== undefined) throw this.#error;
  }

  async #startConsistent(): Promise<{ readonly offset: Offset }> {
    const { progress } = this.#target;
    this.#consistent = true;
    const offset = progress.logOffset ?? this.#options.raw.start(0);
    const keeper = new ConsistentKeeper(progress);
    const lane = this.#newLane(this.#target.applier(keeper));
    this.#addTables(() => lane, () => 0);
    this.#decoder = this.#newDecoder(progress.appliedLsn ?? ZERO_LSN, offset, progress.commitTimeMs ?? 0);
    return { offset };
  }

  async #startParallel(): Promise<{ readonly offset: Offset }> {
    const { mapping, settings } = this.#options;
    const progress = new Map(this.#target.tables.map((table) => [tableId(table.from), table]));
    const count = this.#target.ordered ? 1 : Math.max(1, Math.min(settings.sink.parallel, mapping.tables.length));
    const groups = shareOut(this.#options, count);
    const laneOf = new Map<TableMapping, Lane>();
    for (const group of groups) {
      const session = await this.#target.openLane(new LaneKeeper(mapping.name, this.#target.progress.epoch, group));
      const lane = this.#newLane(session);
      for (const table of group) laneOf.set(table, lane);
    }
    this.#addTables((table) => laneOf.get(table)!, (table) => progress.get(tableId(table.from))?.logOffset ?? 0);
    const running = this.#target.tables.filter((table) => table.state !== 'held');
    const offset = Math.max(this.#options.raw.start(0), Math.min(...running.map((table) => table.logOffset), Infinity));
    this.#decoder = this.#newDecoder(lowestLsn(running), Number.isFinite(offset) ? offset : this.#options.raw.start(0), 0);
    return { offset: this.#decoder.position()!.offset };
  }

  #addTables(laneOf: (table: TableMapping) => Lane, skipBelow: (table: TableMapping) => Offset): void {
    const progress = new Map(this.#target.tables.map((table) => [tableId(table.from), table]));
    const before = new Map(this.#tables);
    this.#tables.clear();
    for (const mapping of this.#options.mapping.tables) {
      const id = tableId(mapping.from);
      const table = new SinkTable(mapping, laneOf(mapping), before.get(id) ?? progress.get(id), skipBelow(mapping));
      table.lane.tables.push(table);
      this.#tables.set(id, table);
    }
  }

  #newLane(session: ConstructorParameters<typeof Lane>[0]['session']): Lane {
    const lane = new Lane({
      session,
      batchRows: this.#options.settings.sink.batchRows,
      position: () => this.#decoder.position(),
      grain: () => this.#finer?.grain ?? 'transactions',
      onCommitted: (round) => this.#committed(round),
      onOutcome: (outcome) => this.#outcome(outcome),
      onError: (error) => {
        this.#error ??= error;
        this.#stop.abort();
      },
    });
    this.#lanes.push(lane);
    return lane;
  }

  #newDecoder(applied: Lsn, offset: Offset, commitTimeMs: number): Decoder {
    return new Decoder({
      name: this.#options.mapping.name,
      resolver: this.#options.resolver,
      tableOf: (name) => this.#tables.get(tableId(name)),
      applied,
      offset,
      commitTimeMs,
      onMisfit: (table, error) => this.#misfit(table, error),
      onMarker: (id) => {
        if (this.#consistent) this.#lanes[0]!.addMarker(id);
        else this.#markers.push(id);
      },
    });
  }

  #misfit(table: SinkTable, error: PipelineError): void {
    table.state = 'held';
    table.error = error.message;
    table.lane.addState({ table: table.mapping, state: 'held', error: error.message });
    this.#events.onHeld(table.mapping, error.message);
  }

  async #follow(cursor: Cursor, signal: AbortSignal): Promise<void> {
    let turn = performance.now();
    for (;;) {
      const batch = await cursor.next(signal);
      if (batch === undefined || signal.aborted) return;
      for (const piece of this.#pieces(batch)) {
        for (const unit of this.#scanner.push(piece)) {
          await this.#take(unit, signal);
          if (signal.aborted) return;
          if (performance.now() - turn < TURN_MS) continue;
          await nextTurn();
          turn = performance.now();
        }
      }
    }
  }

  /** The batch as it is; record by record while the grain is finer. */
  *#pieces(batch: ReadBatch): Generator<ReadBatch> {
    let offset = batch.baseOffset;
    let p = 0;
    for (; this.#finer !== undefined && p < batch.bytes.length; offset++) {
      const next = p + 4 + batch.bytes.readUInt32BE(p);
      yield { baseOffset: offset, count: 1, bytes: batch.bytes.subarray(p, next) };
      p = next;
      const position = this.#decoder.position();
      if (position === undefined || position.offset < this.#finer.until || this.#lanes.some((lane) => lane.busy)) continue;
      this.#finer = undefined;
      this.#scanner = new FrameScanner();
    }
    if (p < batch.bytes.length) yield { baseOffset: offset, count: batch.count - (offset - batch.baseOffset), bytes: batch.bytes.subarray(p) };
  }

  async #take(unit: Unit, signal: AbortSignal): Promise<void> {
    switch (unit.kind) {
      case 'transactions':
      case 'chunk': {
        const parts = !unit.first || !unit.last;
        // A transaction in parts has the target's transaction to itself.
        if (unit.first && !unit.last) await this.#drain();
        const before = this.#decoder.offset;
        this.#decoder.take(unit);
        const advanced = this.#consistent && this.#decoder.offset > before;
        for (const lane of this.#lanes) lane.moved(advanced || parts, unit.bytes / this.#lanes.length);
        for (const lane of this.#lanes) lane.kick();
        if (parts || this.#finer !== undefined) await this.#drain();
        else await this.#room(signal);
        return;
      }
      case 'void':
        this.#decoder.void();
        for (const lane of this.#lanes) await lane.void();
        return;
      case 'state':
      case 'copy-complete':
      case 'epoch':
        // Read again after a restart: it counted then.
        if (unit.offset >= this.#decoder.offset) await this.#takeFrame(unit, signal);
        return;
      default:
        unit satisfies never;
    }
  }

  async #takeFrame(unit: FrameUnit, signal: AbortSignal): Promise<void> {
    switch (unit.kind) {
      case 'state':
        this.#tableState(unit);
        return;
      case 'copy-complete':
        if (!this.#consistent) await this.#changeOver(unit, signal);
        else this.#decoder.passed(unit.offset);
        return;
      case 'epoch':
        this.#decoder.passed(unit.offset);
        return;
      default:
        unit.kind satisfies never;
    }
  }

  #tableState(unit: FrameUnit): void {
    const frame = decodeJsonFrame<TableStateFrame>(unit.frame);
    this.#decoder.passed(unit.offset);
    const table = this.#tables.get(tableId({ schema: frame.schema, name: frame.table }));
    if (table === undefined || table.heldBySink || unit.offset < table.skipBelow) return;
    // Changes gathered under the last state are applied as that state asks.
    table.lane.addState({
      table: table.mapping,
      state: frame.state,
      ...(frame.rowsEstimated !== undefined && { rowsEstimated: frame.rowsEstimated }),
      ...(frame.error !== undefined && { error: frame.error }),
    });
    table.state = frame.state;
    table.error = frame.error;
    table.rowsEstimated = frame.rowsEstimated ?? table.rowsEstimated;
    table.lane.kick();
  }

  /** All lanes stand at the copy-complete record: from here one session shows whole source states. */
  async #changeOver(unit: FrameUnit, signal: AbortSignal): Promise<void> {
    await this.#drain();
    if (signal.aborted) return;
    for (const lane of this.#lanes) await lane.close();
    this.#lanes = [];
    const lsn = maxLsn(parseLsn(decodeJsonFrame<CopyCompleteFrame>(unit.frame).lsn), this.#decoder.lsn);
    this.#decoder.passed(unit.offset);
    const position = { ...this.#decoder.position()!, lsn };
    const epoch = await changeOver(this.#target, position, this.#markers);
    const keeper = new ConsistentKeeper({ name: this.#options.mapping.name, epoch, appliedLsn: lsn, logOffset: position.offset });
    const lane = this.#newLane(this.#target.applier(keeper));
    this.#consistent = true;
    this.#addTables(() => lane, () => 0);
    this.#decoder.forgetRoutes();
    const markers = this.#markers;
    this.#markers = [];
    this.#events.onCommitted(position, markers, true);
  }

  /** Waits until no lane has both a full round and a busy session. */
  async #room(signal: AbortSignal): Promise<void> {
    for (const lane of this.#lanes) {
      while (lane.full && lane.busy && !signal.aborted) await lane.free();
    }
  }

  async #drain(): Promise<void> {
    for (const lane of this.#lanes) lane.kick();
    for (const lane of this.#lanes) await lane.drain();
  }

  #committed(round: Round): void {
    this.#events.onCommitted(round.commit!, round.markers, this.#consistent);
  }

  #outcome(outcome: RoundOutcome): void {
    for (const { table, key, message } of outcome.held) {
      const held = this.#tables.get(tableId(table.from))!;
      held.state = 'held';
      held.error = message;
      held.heldKey = key;
      this.#events.onHeld(table, message);
    }
    for (const table of outcome.collided) this.#tables.get(tableId(table.from))!.collided();
  }

  #tick(): void {
    for (const lane of this.#lanes) lane.count(!this.#consistent);
  }

  async pause(): Promise<void> {
    this.#paused++;
    for (const lane of this.#lanes) await lane.pause();
  }

  resume(): void {
    if (--this.#paused > 0) return;
    for (const lane of this.#lanes) lane.resume();
  }
}

function lowestLsn(tables: readonly TableProgress[]): Lsn {
  let lowest: Lsn | undefined;
  for (const { lsn } of tables) lowest = lsn === undefined ? ZERO_LSN : lowest === undefined ? lsn : minLsn(lowest, lsn);
  return lowest ?? ZERO_LSN;
}

/** Tables to lanes: the largest first, each to the lane with the least so far. */
function shareOut(options: SinkOptions, count: number): readonly (readonly TableMapping[])[] {
  const bytes = new Map(options.source.map((table) => [tableId(table), table.bytes]));
  const weight = (table: TableMapping): number => 1 + (bytes.get(tableId(table.from)) ?? 0);
  const lanes = Array.from({ length: count }, () => ({ tables: [] as TableMapping[], weight: 0 }));
  for (const table of options.mapping.tables.toSorted((a, b) => weight(b) - weight(a))) {
    const lightest = lanes.reduce((a, b) => (b.weight < a.weight ? b : a));
    lightest.tables.push(table);
    lightest.weight += weight(table);
  }
  return lanes.map((lane) => lane.tables);
}
