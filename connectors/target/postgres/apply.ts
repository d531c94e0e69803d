/**
 * Applies rounds over one session. Guarantee: a round's rows, its progress and its COMMIT succeed together or not at all. The quick
 * way writes everything in one pipeline and looks at the answers before it sends COMMIT; whatever a row or a constraint objects to
 * is rolled back and redone the careful way (careful.ts), table by table under savepoints, so that no row is ever dropped.
 */
import { failpoint } from '#schemas/test-hooks.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { FinerGrainNeeded, OP, type Round, type RoundOutcome, type TargetSession } from '#connectors/target/target.ts';
import { BlockedChanges, type BlockedRows } from './blocked-rows.ts';
import { applyCarefully } from './careful.ts';
import { isJudged } from './conflicts.ts';
import type { KeyAllocator } from './key-allocator.ts';
import { writeHeld, type ProgressKeeper } from './progress.ts';
import { screen } from './screen.ts';
import type { TableSql } from './statements.ts';
import { neededStages, soleMove, writeWork, type Expectation } from './table-writer.ts';
import { hasUnmapped } from './unmapped-rows.ts';
import { isTransient, StatementError, type StatementResult, type Wire } from './wire.ts';

export interface ApplierOptions {
  readonly name: string;
  readonly wire: Wire;
  readonly keeper: ProgressKeeper;
  readonly sqlOf: (table: TableMapping) => TableSql;
  /** Tables in an order in which each comes after those it refers to. */
  readonly rank: (table: TableMapping) => number;
  /** Tables that refer to this one or that it refers to. */
  readonly related: (table: TableMapping) => readonly TableMapping[];
  /** Gives ids to the source's keys, where the mapping has such columns. */
  readonly keys?: Pick<KeyAllocator, 'ensure'>;
  /** Keys of which a row was set aside, as committed. */
  readonly blocked: BlockedRows;
  /** Each attempt meets deferred constraints at once: beside rows set aside, COMMIT must not be the first to object. */
  readonly isEager?: () => boolean;
  /** Foreign keys are checked on the target: constraints are deferred where they can be. */
  readonly ordered: boolean;
  /** Content of our logical message, the first act of each transaction when no replication origin is set up. */
  readonly originMessage: string | undefined;
  /** Keys whose rows must be copied again; durable when it resolves. */
  readonly onMissing: (table: TableMapping, keys: readonly (readonly string[])[]) => Promise<void>;
}

/** A statement touched fewer rows than it must. */
class UnexpectedCount extends Error {}

const NOTHING: RoundOutcome = { held: [], setAside: [], missing: [], collided: [] };

export class RoundApplier implements TargetSession {
  readonly #options: ApplierOptions;
  /** Temporary tables that exist, and those whose creation a rollback would undo. */
  readonly #staged = new Set<string>();
  readonly #stagedInTransaction = new Set<string>();
  readonly #dirty = new Set<string>();
  #inTransaction = false;
  /** What the open transaction lacks: asked for before it commits. */
  readonly #missing: RoundOutcome['missing'][number][] = [];
  /** What the open transaction does to blocked keys. */
  #blocked: BlockedChanges | undefined;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  async apply(round: Round): Promise<RoundOutcome> {
    const begins = !this.#inTransaction;
    failpoint('sink.begin');
    await this.#options.keys?.ensure(round.work);
    const careful =
      needsCare(round, this.#options.ordered) || this.#meetsBlocked(round, this.#blocked ?? new BlockedChanges(this.#options.blocked));
    const outcome = careful ? await this.#careful(round, begins) : await this.#quick(round, begins);
    failpoint('sink.applied');
    this.#missing.push(...outcome.missing);
    if (round.commit === undefined) return outcome;
    for (const missing of this.#missing.splice(0)) await this.#options.onMissing(missing.table, missing.keys);
    const committed = this.#run((wire) => wire.execute('COMMIT'));
    failpoint('sink.commit');
    await committed;
    this.#inTransaction = false;
    this.#stagedInTransaction.clear();
    this.#dirty.clear();
    this.#options.keeper.committed(round.commit);
    this.#blocked?.adopt();
    this.#blocked = undefined;
    failpoint('sink.committed');
    return outcome;
  }

  async #quick(round: Round, begins: boolean): Promise<RoundOutcome> {
    const blocked = new BlockedChanges(this.#options.blocked, this.#blocked);
    const screened = { ...round, work: round.work.map((item) => screen(item, blocked)) };
    await this.#prepareStages(screened, false);
    try {
      await this.#writeRound(screened, begins, blocked);
      this.#blocked = blocked;
      return NOTHING;
    } catch (error) {
      const objection = error instanceof UnexpectedCount || (error instanceof StatementError && !error.lost && !isTransient(error));
      if (!objection) throw error;
      if (this.#canBeFiner(round)) await this.#refine(round, error);
      if (begins) await this.rollback();
      else await this.#run((wire) => wire.execute('ROLLBACK TO part'));
      return this.#careful(round, begins);
    }
  }

  /** A foreign key may fail for a row that was set aside in the other table. */
  #meetsBlocked(round: Round, blocked: BlockedChanges): boolean {
    const { ordered, related } = this.#options;
    return ordered && round.work.some(({ table }) => related(table).some((other) => blocked.keys(other).size > 0));
  }

  /** Folding is what the foreign keys may object to: each change by itself was allowed in the source. */
  #canBeFiner(round: Round): boolean {
    return this.#options.ordered && round.grain !== 'change' && round.work.length > 0 && round.work.every((work) => work.kind === 'fold');
  }

  async #refine(round: Round, cause: unknown): Promise<never> {
    await this.rollback();
    throw new FinerGrainNeeded(round.grain === 'transactions' ? 'transaction' : 'change', cause);
  }

  /** BEGIN (or a savepoint in an open transaction), the guard, the rows, the progress: one round trip. */
  async #writeRound(round: Round, begins: boolean, blocked: BlockedChanges): Promise<void> {
    const { keeper, name } = this.#options;
    const expectations: Expectation[] = [];
    const results = await this.#run((wire) => {
      if (begins) this.#begin(wire);
      else wire.execute('SAVEPOINT part');
      writeWork(this.#options, round.work, { expectations, dirty: this.#dirty, single: round.grain === 'change' });
      // What was deferred is checked now, while the round can still be redone another way.
      if (this.#options.ordered && round.commit !== undefined) wire.execute('SET CONSTRAINTS ALL IMMEDIATE');
      if (round.commit === undefined) return;
      blocked.write(wire, name, round.commit);
      keeper.advance(wire, round, round.commit);
    });
    if (begins) this.#check(results);
    for (const { at, count } of expectations) {
      if (results[at]!.count !== count) throw new UnexpectedCount(`${results[at]!.count} rows instead of ${count}`);
    }
    // Not before the counts were looked at: what they betray is undone up to it. A COMMIT needs no release.
    if (!begins && round.commit === undefined) await this.#run((wire) => wire.execute('RELEASE part'));
  }

  #begin(wire: Wire): void {
    this.#inTransaction = true;
    wire.execute('BEGIN');
    this.#options.keeper.guard(wire);
    if (this.#options.originMessage !== undefined)
      wire.execute(`SELECT pg_logical_emit_message(true, 'crossfade', $1)`, [this.#options.originMessage]);
    if (this.#options.ordered) wire.execute('SET CONSTRAINTS ALL DEFERRED');
  }

  async #careful(round: Round, begins: boolean): Promise<RoundOutcome> {
    const { keeper, name } = this.#options;
    await this.#prepareStages(round, true);
    if (begins) this.#check(await this.#run((wire) => this.#begin(wire)));
    const blocked = new BlockedChanges(this.#options.blocked, this.#blocked);
    const options = { ...this.#options, isEager: () => this.#meetsBlocked(round, blocked) };
    const outcome = await applyCarefully(options, round, blocked);
    const refused = outcome.held[0] ?? outcome.setAside[0];
    if (refused !== undefined && this.#canBeFiner(round)) await this.#refine(round, refused.message);
    this.#blocked = blocked;
    for (const stage of this.#staged) this.#dirty.add(stage);
    await this.#run((wire) => {
      if (round.commit !== undefined) {
        blocked.write(wire, name, round.commit);
        keeper.advance(wire, round, round.commit);
      }
      // Last: a state that the log announced within the same round must not hide that the table is held.
      for (const held of outcome.held) writeHeld(wire, name, held, round.commit);
    });
    return outcome;
  }

  /** `results` begin with those of BEGIN and of the guard. */
  #check(results: readonly StatementResult[]): void {
    const guard = results.slice(1);
    this.#options.keeper.check(guard);
    this.#options.blocked.check(guard[0]);
  }

  async rollback(): Promise<void> {
    if (!this.#inTransaction) return;
    this.#inTransaction = false;
    this.#missing.length = 0;
    this.#blocked = undefined;
    for (const stage of this.#stagedInTransaction) this.#staged.delete(stage);
    this.#stagedInTransaction.clear();
    this.#dirty.clear();
    await this.#run((wire) => wire.execute('ROLLBACK'));
  }

  async #run(write: (wire: Wire) => void): Promise<readonly StatementResult[]> {
    const { wire } = this.#options;
    wire.start();
    try {
      write(wire);
    } catch (error) {
      // The pipeline is closed in any case; what was sent of it is rolled back with its transaction.
      await wire.sync().catch(() => undefined);
      throw error;
    }
    return wire.sync();
  }

  /** Temporary tables are made outside of the transaction where possible, so that a rollback leaves them. */
  async #prepareStages(round: Round, all: boolean): Promise<void> {
    for (const work of round.work) {
      const sql = this.#options.sqlOf(work.table);
      const needed = all ? sql.stageKinds : neededStages(work, sql, this.#options.ordered);
      const missing = needed.filter((kind) => !this.#staged.has(sql.stage(kind)));
      if (missing.length === 0) continue;
      await this.#run((wire) => missing.forEach((kind) => wire.execute(sql.createStage(kind))));
      for (const kind of missing) {
        this.#staged.add(sql.stage(kind));
        if (this.#inTransaction) this.#stagedInTransaction.add(sql.stage(kind));
      }
    }
  }

  async close(): Promise<void> {
    await this.#options.wire.client.end().catch(() => undefined);
  }
}

/**
 * Rows that could not be mapped need the careful way, rows that others write too, and rows whose absent columns stand under another key, but for a key change that is
 * applied as an update in place.
 */
function needsCare(round: Round, ordered: boolean): boolean {
  for (const work of round.work) {
    if (hasUnmapped(work) || isJudged(work.table)) return true;
    if (work.kind !== 'fold' || work.carries.size === 0) continue;
    if (ordered && soleMove(work, round.grain === 'change') !== undefined) continue;
    if (work.ops.subarray(0, work.size).some((op) => (op & OP.carry) !== 0)) return true;
  }
  return false;
}
