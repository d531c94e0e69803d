/**
 * One lane: a session on the target, and the changes gathered for it while it works. Guarantee: rounds are applied one after another in
 * log order; a round is closed only between whole transactions (or as a part of one that is too large), so each commit shows a state
 * that the source had.
 *
 * While a round is being applied the next one fills; when it is done the next starts at once: rounds grow with the load by themselves.
 */
import type {
  Grain,
  Place,
  Round,
  SourceIdentity,
  RoundOutcome,
  TableState,
  TargetSession,
  Work,
  Position,
  TableCounts,
} from '#connectors/target/target.ts';
import type { SinkTable } from './sink-table.ts';

/** Counters are written this often at most. */
const COUNT_EVERY_MS = 1_000;
/** What a round may hold of the log's buffers. */
const ROUND_BYTES = 16 * 1024 * 1024;

export interface LaneOptions {
  readonly session: TargetSession;
  /** The round being filled takes no more beyond so many changes. */
  readonly batchRows: number;
  /** Where decoding stands: undefined within a transaction that is handed on in parts. */
  readonly position: () => Position | undefined;
  /** How far decoding has come, within a transaction too. */
  readonly place: () => Place;
  readonly grain: () => Grain;
  readonly onCommitted: (round: Round) => void;
  readonly onOutcome: (outcome: RoundOutcome, round: Round) => void;
  readonly onError: (error: unknown) => void;
}

export class Lane {
  readonly tables: SinkTable[] = [];
  readonly #options: LaneOptions;
  #work: Work[] = [];
  /** Of the work up to the folds that are open. */
  #places: Place[] = [];
  #open: SinkTable[] = [];
  #markers: string[] = [];
  #states: TableState[] = [];
  #source: SourceIdentity | undefined;
  #bytes = 0;
  #moved = false;
  #busy = false;
  #failed = false;
  #held = false;
  #stopping = false;
  /** Parts of a source transaction were applied, its end was not. */
  #unfinished = false;
  #countedAt = 0;
  #counting = false;
  #idle: (() => void)[] = [];

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** A table gets its first change of the round. */
  opened(table: SinkTable): void {
    this.#work.push(table.fold!);
    this.#open.push(table);
  }

  /** The table was held by the round before: what was gathered of it meanwhile is part of what is not applied. */
  drop(table: SinkTable): void {
    this.#places = this.#places.filter((_, i) => this.#work[i]!.table !== table.mapping);
    this.#work = this.#work.filter((work) => work.table !== table.mapping);
    this.#open = this.#open.filter((open) => open !== table);
    this.#states = this.#states.filter((state) => state.table !== table.mapping);
    table.fold = undefined;
  }

  /** Work that must stay in order with the changes before and after it. */
  push(work: Work, bytes: number): void {
    this.#closeFolds();
    this.#work.push(work);
    // Beyond what was folded before it, below what is folded after it.
    const { lsn, ordinal } = this.#options.place();
    this.#places.push({ lsn, ordinal: ordinal + 1 });
    this.#bytes += bytes;
    this.#moved = true;
  }

  /** What comes next of any table is applied after all that is gathered now. */
  cut(): void {
    this.#closeFolds();
  }

  addMarker(id: string): void {
    this.#markers.push(id);
    this.#moved = true;
  }

  /** Which system the changes from here on come from. */
  addSource(source: SourceIdentity): void {
    this.#source = source;
    this.#moved = true;
  }

  addState(state: TableState): void {
    this.#closeFolds();
    this.#states.push(state);
    this.#moved = true;
  }

  /** Decoding got further by `bytes`; `always`: worth a commit even though nothing of it was for this lane. */
  moved(always: boolean, bytes: number): void {
    if (!always && this.#work.length === 0) return;
    this.#moved = true;
    this.#bytes += bytes;
  }

  get full(): boolean {
    if (this.#bytes >= ROUND_BYTES) return true;
    let changes = 0;
    for (const table of this.#open) changes += table.fold!.changes;
    return changes >= this.#options.batchRows;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Waits until the round being filled may take more. */
  async room(): Promise<void> {
    while (this.full && (this.#busy || this.#held) && !this.#failed && !this.#stuck) await this.#change();
  }

  /** Starts a round when the session is free and there is something to commit. */
  kick(): void {
    if (this.#busy || this.#failed || (this.#held && !this.#unfinished) || !this.#moved) return;
    const round = this.#seal();
    this.#busy = true;
    this.#options.session.apply(round).then(
      (outcome) => {
        this.#busy = false;
        this.#unfinished = round.commit === undefined;
        this.#options.onOutcome(outcome, round);
        if (round.commit !== undefined) this.#options.onCommitted(round);
        this.#release();
        this.kick();
      },
      (error: unknown) => {
        this.#busy = false;
        this.#failed = true;
        this.#release();
        this.#options.onError(error);
      },
    );
  }

  /** Resolves when the session is free (at once when it is). */
  async free(): Promise<void> {
    while (this.#busy) await this.#change();
  }

  /** Applies everything gathered; while the lane is paused, waits for that to end. */
  async drain(): Promise<void> {
    this.kick();
    while ((this.#busy || this.#moved) && !this.#failed && !this.#stuck) {
      await this.#change();
      this.kick();
    }
  }

  /** Resolves when a round ended, or the lane was resumed or closed. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** The sink is to stop: a paused lane is not waited for. */
  stop(): void {
    this.#stopping = true;
    this.#release();
  }

  get #stuck(): boolean {
    return this.#stopping && this.#held && !this.#busy && !this.#unfinished;
  }

  /** Nothing more is committed until `resume`; resolves when the round (or the transaction in parts) under way is committed. */
  async pause(): Promise<void> {
    this.#held = true;
    while ((this.#busy || this.#unfinished) && !this.#failed) await this.#change();
  }

  resume(): void {
    this.#held = false;
    this.kick();
    this.#release();
  }

  /** What was gathered of a void transaction goes. */
  async void(): Promise<void> {
    await this.free();
    this.#reset();
    await this.#options.session.rollback();
    this.#unfinished = false;
    this.#release();
  }

  async close(): Promise<void> {
    this.#failed = true;
    this.#release();
    await this.#options.session.close();
  }

  /** Counters (or, for a lane that nothing came for, its position) are due, though nothing else happens. */
  count(always: boolean): void {
    if (this.#options.position() === undefined) return;
    if (!always && this.tables.every((table) => table.newRows === 0 && table.newChanges === 0)) return;
    this.#counting = true;
    this.#moved = true;
    this.kick();
  }

  #closeFolds(): void {
    if (this.#open.length === 0) return;
    const place = this.#options.place();
    while (this.#places.length < this.#work.length) this.#places.push(place);
    for (const table of this.#open) table.fold = undefined;
    this.#open = [];
  }

  #seal(): Round {
    this.#closeFolds();
    const commit = this.#options.position();
    const round: Round = {
      work: this.#work,
      places: this.#places,
      commit,
      markers: this.#markers,
      states: this.#states,
      source: this.#source,
      grain: this.#options.grain(),
      counts: this.#counts(commit !== undefined),
    };
    this.#reset();
    return round;
  }

  #counts(commits: boolean): readonly TableCounts[] {
    const now = Date.now();
    // A chunk's rows are many for one more statement, and an operator watches them.
    const due =
      now - this.#countedAt >= COUNT_EVERY_MS ||
      this.#counting ||
      this.#states.length > 0 ||
      this.#work.some((work) => work.kind === 'chunk');
    if (!commits || !due) return [];
    this.#countedAt = now;
    this.#counting = false;
    const counts: TableCounts[] = [];
    for (const table of this.tables) {
      if (table.newRows === 0 && table.newChanges === 0) continue;
      counts.push({ table: table.mapping, rowsCopied: table.newRows, changesApplied: table.newChanges });
      table.newRows = 0;
      table.newChanges = 0;
    }
    return counts;
  }

  #reset(): void {
    this.#closeFolds();
    this.#work = [];
    this.#places = [];
    this.#markers = [];
    this.#states = [];
    this.#source = undefined;
    this.#bytes = 0;
    this.#moved = false;
  }

  #release(): void {
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }
}
