/**
 * One run of the sink over the log, from taking over the target to the first failure. Guarantee: nothing it holds in memory outlives
 * it; the next session starts from what the target's progress rows say, so a lost answer, a deadlock or a dead connection is repaired
 * by starting again.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cursor, Offset, ReadBatch } from '#connectors/change-log/change-log.ts';
import type { RoundOutcome, Target } from '#connectors/target/target.ts';
import { type PipelineError } from '#schemas/errors.ts';
import { decodeJsonFrame, type CopyCompleteFrame, type EpochFrame, type TableStateFrame } from '#schemas/frame/frame.ts';
import { maxLsn, parseLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { pairId, tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { refersToItself } from '#schemas/mapping/self-reference.ts';
import { arriving } from './arriving.ts';
import { BookmarkKeeper, REREAD_RECORDS } from './bookmark-keeper.ts';
import { Decoder } from './decoder.ts';
import { FrameScanner, type FrameUnit, type Unit } from './frame-scanner.ts';
import { Lane } from './lane.ts';
import { shareOut } from './lane-share.ts';
import { checkSystem, lowestLsn, lowestOffset, readRelations } from './resume-point.ts';
import type { FinerGrain, SessionEvents } from './session-events.ts';
import { SessionTables } from './session-tables.ts';
import type { SinkOptions } from './sink.ts';
import { rememberAll, SinkTable } from './sink-table.ts';

/** The event loop is left to others (the reader's socket above all) after so long. */
const TURN_MS = 4;
const TICK_MS = 1_000;

export class SinkSession {
  readonly #options: SinkOptions;
  readonly #target: Target;
  readonly #events: SessionEvents;
  readonly #tables = new SessionTables();
  #lanes: Lane[] = [];
  #started = false;
  #decoder!: Decoder;
  #scanner = new FrameScanner();
  #consistent = false;
  /** Markers met before the change-over wait for it. */
  #markers: string[] = [];
  /** Rounds are kept this small until decoding has passed the offset. */
  #finer: FinerGrain | undefined;
  #source: EpochFrame | undefined;
  #error: Error | undefined;
  #stop = new AbortController();
  #paused = 0;
  readonly #bookmarks: BookmarkKeeper;
  /** Forgets what the transaction in parts under way has done to the tables. */
  #undo: (() => void) | undefined;

  constructor(options: SinkOptions, target: Target, events: SessionEvents, finer?: FinerGrain) {
    this.#options = options;
    this.#finer = finer;
    if (finer?.grain === 'change') this.#scanner = new FrameScanner(1);
    this.#target = target;
    this.#events = events;
    const [between, onError] = [this.#between.bind(this), this.#fail.bind(this)];
    this.#bookmarks = new BookmarkKeeper({ bookmarks: options.bookmarks, logger: options.logger, target, between, onError });
  }

  get tables(): SessionTables {
    return this.#tables;
  }

  /** Where decoding stands: at or above the end of whatever was handed to a lane. */
  get decoded(): Offset {
    return this.#started ? this.#decoder.offset : 0;
  }

  /** Runs until `signal` (then applies what is gathered) or the first failure. */
  async run(signal: AbortSignal): Promise<void> {
    const from = this.#target.progress.mode === 'consistent' ? await this.#startConsistent() : await this.#startParallel();
    const { raw } = this.#options;
    this.#started = true;
    for (const relation of await readRelations(this.#options.progress, from.offset)) this.#decoder.learn(relation);
    // A little below what is applied: the duplicate rule, not an offset alone, decides what is applied again.
    const cursor = raw.read(0, Math.max(raw.start(0), from.offset - REREAD_RECORDS));
    const ticks = setInterval(() => this.#tick(), TICK_MS);
    const stop = (): void => this.#lanes.forEach((lane) => lane.stop());
    signal.addEventListener('abort', stop, { once: true });
    this.#requestEmptied();
    try {
      await this.#follow(cursor, AbortSignal.any([signal, this.#stop.signal]));
      if (this.#error === undefined) await this.#drain();
      this.#tick();
      if (this.#error === undefined) await this.#drain();
    } finally {
      signal.removeEventListener('abort', stop);
      clearInterval(ticks);
      await cursor.close();
      for (const lane of this.#lanes) await lane.close();
    }
    if (this.#error !== undefined) throw this.#error;
  }

  /** Emptied for a resume, but whether its rows were asked for is unknown: asking twice is harmless. */
  #requestEmptied(): void {
    const emptied = this.#target.tables
      .filter(({ state, heldOffset }) => state !== 'held' && heldOffset !== undefined)
      .flatMap((progress) => this.#tables.get(progress) ?? []);
    for (const tables of Map.groupBy(emptied, ({ mapping }) => tableId(mapping.from)).values())
      void this.#requestRows(tables).catch((error: unknown) => this.#fail(error));
  }

  async #startConsistent(): Promise<{ readonly offset: Offset }> {
    const { progress } = this.#target;
    this.#consistent = true;
    const offset = progress.logOffset ?? this.#options.raw.start(0);
    const lane = this.#newLane(this.#target.consistent(progress));
    this.#addTables(
      () => lane,
      () => 0,
    );
    this.#decoder = this.#newDecoder(progress.appliedLsn ?? ZERO_LSN, offset, progress.commitTimeMs ?? 0);
    return { offset };
  }

  async #startParallel(): Promise<{ readonly offset: Offset }> {
    const { mapping, settings } = this.#options;
    const progress = new Map(this.#target.tables.map((table) => [pairId(table), table]));
    const count = this.#target.ordered ? 1 : Math.max(1, Math.min(settings.sink.parallel, mapping.tables.length));
    const groups = shareOut(mapping.tables, this.#options.source, count);
    const laneOf = new Map<TableMapping, Lane>();
    for (const group of groups) {
      const lane = this.#newLane(await this.#target.lane(group));
      for (const table of group) laneOf.set(table, lane);
    }
    this.#addTables(
      (table) => laneOf.get(table)!,
      (table) => progress.get(pairId(table))?.logOffset ?? 0,
    );
    const offset = lowestOffset(this.#options.raw, this.#target.tables);
    this.#decoder = this.#newDecoder(lowestLsn(this.#target.tables), offset, 0);
    return { offset };
  }

  #addTables(laneOf: (table: TableMapping) => Lane, skipBelow: (table: TableMapping) => Offset): void {
    const progress = new Map(this.#target.tables.map((table) => [pairId(table), table]));
    const tables = this.#options.mapping.tables.map((mapping) => {
      const awaitsChunk = !this.#consistent && this.#target.ordered && refersToItself(mapping, this.#options.targetTables);
      const start = { skipBelow: skipBelow(mapping), awaitsChunk };
      const table = new SinkTable(mapping, laneOf(mapping), this.#tables.get(mapping) ?? progress.get(pairId(mapping)), start);
      table.lane.tables.push(table);
      return table;
    });
    this.#tables.replace(tables);
  }

  #newLane(session: ConstructorParameters<typeof Lane>[0]['session']): Lane {
    const lane = new Lane({
      session,
      batchRows: this.#options.settings.sink.batchRows,
      position: () => this.#decoder.position(),
      place: () => this.#decoder.place(),
      grain: () => this.#finer?.grain ?? 'transactions',
      onCommitted: (round) => {
        this.#bookmarks.committed(lane, round.commit!.offset);
        this.#events.onCommitted(round.commit!, round.markers, this.#consistent);
      },
      onOutcome: (outcome) => this.#outcome(outcome),
      onError: (error) => this.#fail(error),
    });
    if (this.#paused > 0) void lane.pause();
    this.#lanes.push(lane);
    return lane;
  }

  #fail(error: unknown): void {
    this.#error ??= error instanceof Error ? error : new Error(String(error));
    this.#stop.abort();
  }

  #newDecoder(applied: Lsn, offset: Offset, commitTimeMs: number): Decoder {
    return new Decoder({
      name: this.#options.mapping.name,
      resolver: this.#options.resolver,
      describeRows: this.#options.describeRows,
      tablesOf: (name) => this.#tables.of(name),
      tableAt: (pair) => this.#tables.at(pair),
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
      for (const piece of this.#pieces(arriving(batch))) {
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
    if (p < batch.bytes.length)
      yield { baseOffset: offset, count: batch.count - (offset - batch.baseOffset), bytes: batch.bytes.subarray(p) };
  }

  async #take(unit: Unit, signal: AbortSignal): Promise<void> {
    switch (unit.kind) {
      case 'transactions':
      case 'chunk': {
        const parts = !unit.first || !unit.last;
        // A transaction in parts has the target's transaction to itself.
        if (unit.first && !unit.last) {
          await this.#drain();
          this.#undo = rememberAll(this.#tables);
        }
        const before = this.#decoder.offset;
        this.#decoder.take(unit);
        if (unit.last) this.#undo = undefined;
        const advanced = this.#consistent && this.#decoder.offset > before;
        for (const lane of this.#lanes) lane.moved(advanced || parts, unit.bytes / this.#lanes.length);
        for (const lane of this.#lanes) lane.kick();
        if (this.#finer !== undefined) await this.#drain();
        else for (const lane of this.#lanes) await lane.room();
        return;
      }
      case 'void':
        for (const lane of this.#lanes) await lane.void();
        // Only now has decoding a position again: a lane that was still busy would have committed what it had gathered.
        this.#decoder.void();
        this.#undo?.();
        this.#decoder.forgetRoutes();
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
    if (unit.kind === 'state') this.#tableState(unit);
    else if (unit.kind === 'copy-complete' && !this.#consistent) await this.#changeOver(unit, signal);
    else {
      if (unit.kind === 'epoch') this.#checkSource(decodeJsonFrame<EpochFrame>(unit.frame));
      this.#decoder.passed(unit.offset);
    }
  }

  /** The progress row names the system that its LSNs are of. */
  #checkSource(source: EpochFrame): void {
    checkSystem(this.#source?.systemId ?? this.#target.progress.systemId, source);
    this.#source = source;
    if (this.#consistent) this.#lanes[0]!.addSource(source);
  }

  #tableState(unit: FrameUnit): void {
    const frame = decodeJsonFrame<TableStateFrame>(unit.frame);
    this.#decoder.passed(unit.offset);
    const tables = this.#tables.of({ schema: frame.schema, name: frame.table }).filter(({ skipBelow }) => unit.offset >= skipBelow);
    for (const table of tables) this.#announced(table, frame);
    // Not before each of them has it: a commit says so of all tables of its lane.
    for (const { lane } of tables) lane.kick();
  }

  #announced(table: SinkTable, { state, rowsEstimated, error }: TableStateFrame): void {
    const before = table.state;
    if (!table.announced(state)) return;
    if (before === 'held') this.#decoder.forgetRoutes();
    // Changes gathered under the last state are applied as that state asks.
    table.lane.addState({
      table: table.mapping,
      state,
      ...(rowsEstimated !== undefined && { rowsEstimated }),
      ...(error !== undefined && { error }),
    });
    table.error = error;
    table.rowsEstimated = rowsEstimated ?? table.rowsEstimated;
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
    const epoch = await this.#target.changeOver(position, { markers: this.#markers, source: this.#source });
    const lane = this.#newLane(this.#target.consistent({ epoch, appliedLsn: lsn, logOffset: position.offset }));
    this.#consistent = true;
    this.#addTables(
      () => lane,
      () => 0,
    );
    this.#decoder.forgetRoutes();
    this.#events.onCommitted(position, this.#markers.splice(0), true);
  }

  async #drain(): Promise<void> {
    for (const lane of this.#lanes) lane.kick();
    for (const lane of this.#lanes) await lane.drain();
  }

  #outcome(outcome: RoundOutcome): void {
    for (const { table, key, message } of outcome.held) {
      this.#tables.get(table)!.rejected(key, message);
      this.#events.onHeld(table, message);
    }
    for (const { table, message } of outcome.setAside) this.#events.onSetAside(table, message);
    for (const table of outcome.collided) this.#tables.get(table)!.collided();
    for (const [table, found] of outcome.conflicts ?? []) this.#tables.get(table)!.conflicted(found);
  }

  #tick(): void {
    for (const lane of this.#lanes) lane.count(!this.#consistent);
    this.#bookmarks.tick(this.#lanes, this.#consistent);
  }

  async pause(): Promise<void> {
    this.#paused++;
    for (const lane of this.#lanes) await lane.pause();
  }

  /**
   * Held targets of one source table start anew: emptied, then copied again as a whole. From here on their changes count; chunks that come
   * later bring every row.
   */
  async resumeTables(tables: readonly SinkTable[]): Promise<void> {
    await this.#between(async () => {
      for (const table of tables) {
        await this.#target.emptyHeldTable(table.mapping);
        table.resumed();
      }
      this.#decoder.forgetRoutes();
    });
    await this.#requestRows(tables);
  }

  /** Of one source table: a re-copy brings its rows to every target. */
  async #requestRows(tables: readonly SinkTable[]): Promise<void> {
    await this.#options.onResumedTable?.(tables[0]!.mapping);
    await this.#between(async () => {
      for (const table of tables) {
        await this.#target.resumed(table.mapping);
        table.awaitsRequest = false;
      }
    });
  }

  async #between(act: () => Promise<void>): Promise<void> {
    await this.pause();
    try {
      await act();
    } finally {
      this.resume();
    }
  }

  /** The resolver knows more leaves than before. */
  forgetRoutes(): void {
    this.#decoder?.forgetRoutes();
  }

  resume(): void {
    if (--this.#paused > 0) return;
    for (const lane of this.#lanes) lane.resume();
  }
}
