/**
 * Source, target and the operators of a migration in memory, around the real transitions and the real recovery. Guarantee: one seed, one history;
 * every step of an operator is one act that a database does or does not do, and between any two of them it may be killed, or sleep while another one
 * takes over. After each step what must always hold is looked at, and `settled` asks for what must hold once somebody has recovered.
 */
import { type Entry, type Fenced, highestEpoch, type Journals, mendingOf, recoveryOf, whoServes } from '#schemas/migration/recovery.ts';
import {
  actOf,
  BEGINNING,
  fencedSide,
  type MigrationEvent,
  type MigrationState,
  otherSide,
  type Side,
  type Standing,
  step,
} from '#schemas/migration/transitions.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Random } from './random.ts';

/** What the model may leave out, to see that it is missed. */
export type ModelGuard = 'lease' | 'barrier' | 'lift-epoch' | 'recovery' | 'target-fence';
export type Wish = 'cutover' | 'rollback' | 'drill' | 'abort' | 'forced' | 'nothing';

/** A fence transaction: locks of one side, and a journal row that nobody sees before the COMMIT. */
interface FenceTransaction {
  readonly side: Side;
  readonly epoch: bigint;
  readonly owner: number;
  isAlive: boolean;
  hasInserted: boolean;
  /** Writes of the side when it was locked. */
  readonly marker: number;
}

export class ModelViolation extends Error {}

export const SIDES: readonly Side[] = ['source', 'target'];

export class MigrationModel {
  standing: Standing = BEGINNING;
  readonly journals: { source: Entry[]; target: Entry[] } = { source: [], target: [] };
  /** No fence is committed. Nobody was told to write to the target before the first flip, which counts as a fence. */
  readonly open: Record<Side, boolean> = { source: true, target: false };
  /**
   * A forced rollback leaves the target as it is, until it can be reached and fenced; a side that has lost a decision is open until somebody finds out. It
   * may be written meanwhile, and what it takes is not carried.
   */
  away: Side | undefined;
  failOvers = 0;
  /** The last decision, with what an asynchronous fail-over of its side would go back to. */
  #latest: { readonly side: Side; readonly epoch: bigint; readonly before: Standing } | undefined;
  readonly transactions: Record<Side, FenceTransaction | undefined> = { source: undefined, target: undefined };
  holder: number | undefined;
  /** Of a holder that sleeps: its time is over. */
  hasExpired = false;
  isHalted = false;
  /** Nobody new acts any more. */
  isClosed = false;
  readonly written: Record<Side, number> = { source: 0, target: 0 };
  /** Writes of this side that the other one has. */
  readonly applied: Record<Side, number> = { source: 0, target: 0 };
  readonly states = new Set<MigrationState>();
  readonly #backedOut: Entry[] = [];
  readonly #random: Random;
  readonly #without: ReadonlySet<ModelGuard>;

  constructor(random: Random, without: readonly ModelGuard[] = []) {
    this.#random = random;
    this.#without = new Set(without);
  }

  guards(guard: ModelGuard): boolean {
    return !this.#without.has(guard);
  }

  /** A writer or a pipeline does something. */
  stir(): void {
    const side = this.#random.chance(0.5) ? 'source' : 'target';
    if (this.#random.chance(0.5)) {
      if (this.applied[side] < this.written[side]) this.applied[side]++;
      return;
    }
    if (this.away === side) return;
    if (!this.#isWritable(side)) return;
    const other = otherSide(side);
    const isBehind = this.applied[other] < this.written[other];
    if (isBehind && this.away === undefined)
      throw new ModelViolation(`the ${side} is written while writes of the ${other} are not there yet`);
    this.written[side]++;
  }

  #isWritable(side: Side): boolean {
    return this.open[side] && this.transactions[side]?.isAlive !== true;
  }

  take(operator: number): boolean {
    if (this.isClosed) return false;
    if (this.holder !== undefined && !this.hasExpired) return this.holder === operator;
    [this.holder, this.hasExpired] = [operator, false];
    return true;
  }

  /** False: refused, or the lease is lost. */
  apply(operator: number, event: MigrationEvent, epochSeen?: bigint): boolean {
    if (this.guards('lease') && this.holder !== operator) return false;
    const result = step(this.standing, event, epochSeen);
    if (!result.ok) return false;
    if (event === 'backed-out') this.#backedOut.push({ epoch: this.standing.epoch, serves: this.standing.serves, isVoid: true });
    if (event === 'aborted' && !this.open.source) throw new ModelViolation('aborted, and the source is fenced');
    // What was lost was never known to anybody else.
    if (event === 'backed-out' && this.away === this.standing.serves) this.away = undefined;
    this.standing = result.next;
    this.states.add(result.next.state);
    return true;
  }

  openFence(owner: number, side: Side, epoch: bigint): FenceTransaction | undefined {
    if (this.transactions[side]?.isAlive === true) return undefined; // the lock's time-out
    const transaction = { owner, side, epoch, isAlive: true, hasInserted: false, marker: this.written[side] };
    this.transactions[side] = transaction;
    return transaction;
  }

  /** False: the epoch has a row. */
  insert(transaction: FenceTransaction): boolean {
    if (this.journals[transaction.side].some(({ epoch }) => epoch === transaction.epoch)) transaction.isAlive = false;
    else transaction.hasInserted = transaction.isAlive;
    return transaction.isAlive;
  }

  commit(transaction: FenceTransaction): boolean {
    if (!transaction.isAlive || !transaction.hasInserted) return false;
    const { side, epoch } = transaction;
    transaction.isAlive = false;
    this.journals[side].push({ epoch, serves: otherSide(side), isVoid: false });
    this.open[side] = false;
    this.#latest = { side, epoch, before: this.standing };
    if (this.#backedOut.some((row) => row.epoch === epoch)) throw new ModelViolation(`epoch ${epoch} is decided after it was backed out`);
    return true;
  }

  /** Waits for an open fence transaction of that epoch, or ends its session; false: it waits on. */
  settle(side: Side, epoch: bigint, serves: Side): boolean {
    const transaction = this.transactions[side];
    if (transaction?.isAlive === true && transaction.epoch === epoch && transaction.hasInserted) {
      if (this.#random.chance(0.5)) return false;
      transaction.isAlive = false;
    }
    if (!this.journals[side].some((row) => row.epoch === epoch)) this.journals[side].push({ epoch, serves, isVoid: true });
    return true;
  }

  /** False: waits for a lock. What a later decision on this side has fenced is left alone. */
  lift(side: Side, epoch: bigint): boolean {
    if (this.transactions[side]?.isAlive === true) return false;
    const isLater = this.journals[side].some((row) => !row.isVoid && row.epoch > epoch && row.serves !== side);
    if (isLater && this.guards('lift-epoch')) return true;
    const row = this.journals[side].find((one) => one.epoch === epoch);
    if (row?.isVoid === true) return true;
    if (row === undefined && guarded('lift-echo')) this.journals[side].push({ epoch, serves: side, isVoid: false, isEcho: true });
    this.open[side] = true;
    return true;
  }

  /**
   * A standby takes the place of the side that has decided last, and has not got that yet, nor anything behind it: a log is lost from its end. Of the
   * target, nor what the state has become since. Of a side only its last decision is lost: no echo covers two.
   */
  failOver(): void {
    const latest = this.#latest;
    if (latest === undefined || this.away !== undefined || this.standing.epoch !== latest.epoch) return;
    const { side, epoch, before } = latest;
    this.#latest = undefined;
    this.failOvers++;
    const journal = this.journals[side];
    journal.length = journal.findIndex((row) => row.epoch === epoch);
    [this.open[side], this.away] = [true, side];
    if (side === 'target') [this.standing, this.holder] = [before, undefined];
    if (this.transactions[side] !== undefined) this.transactions[side].isAlive = false;
  }

  /** In one transaction, with a decision of an epoch that nothing else has; the lease is confirmed behind the locks. Undefined: waits for a lock. */
  raise(operator: number, side: Side): boolean | undefined {
    if (this.transactions[side]?.isAlive === true) return undefined;
    if (this.guards('lease') && this.holder !== operator) return false;
    if (this.guards('target-fence')) {
      const highest = highestEpoch(this.journals);
      const epoch = (highest > this.standing.epoch ? highest : this.standing.epoch) + 1n;
      this.journals[side].push({ epoch, serves: otherSide(side), isVoid: false });
      this.open[side] = false;
      this.#keep(side);
    }
    this.away = undefined;
    this.applied[side] = this.written[side]; // what was not carried is given up: a person said so
    return true;
  }

  /** A person's word, while the target cannot be reached. */
  force(): void {
    if (this.away !== undefined || whoServes({ source: this.journals.source, target: [] }) !== 'target') return;
    if (this.transactions.source?.isAlive === true) return; // its row of the journal is waited for
    this.away = 'target';
    // Whoever acted has lost the target, and with it the lease and the fences there.
    this.holder = undefined;
    if (this.transactions.target !== undefined) this.transactions.target.isAlive = false;
    const epoch = highestEpoch({ source: this.journals.source, target: [] }) + 1n;
    this.journals.source.push({ epoch, serves: 'source', isVoid: false });
    this.open.source = true;
    this.#keep('source');
  }

  /** A decision came behind the last one, on the same side. */
  #keep(side: Side): void {
    if (this.#latest?.side === side) this.#latest = undefined;
  }

  /** Always, but for the time in which a side is away. */
  check(): void {
    if (this.away !== undefined) return;
    if (SIDES.every((side) => this.#isWritable(side))) throw new ModelViolation('both sides are writable');
    const journals: Journals = this.journals;
    if (this.open.target && whoServes(journals) !== 'target') throw new ModelViolation('the target is writable, and no journal says so');
  }

  /** Once somebody has recovered and nobody acts. */
  settled(): void {
    const serves = whoServes(this.journals);
    const wrong = (what: string): ModelViolation => new ModelViolation(`recovered, and ${what} (${this.standing.state}, ${serves} serves)`);
    if (this.isHalted) throw wrong('a person has to look');
    if (actOf(this.standing.state) !== undefined) throw wrong('an act is under way');
    if (this.standing.serves !== serves) throw wrong('the state says that the other side serves');
    if (!this.open[serves]) throw wrong('a fence is left behind');
    if (this.open[otherSide(serves)]) throw wrong('a fence is missing');
    if (this.standing.state === 'aborted' && !this.open.source) throw wrong('the source is fenced');
  }
}

/** What an operator does, an act of a database at a time; it may never come back from a yield. */
export function* operate(
  world: MigrationModel,
  me: number,
  { wish, random }: { readonly wish: Wish; readonly random: Random },
): Generator<void, void> {
  if (!world.take(me)) return;
  yield;
  if (world.guards('recovery') && !(yield* recover(world, me))) return;
  if (wish === 'abort') world.apply(me, 'aborted');
  else if (wish === 'cutover' || wish === 'rollback' || wish === 'drill') yield* flip(world, me, { wish, random });
  if (world.holder === me) world.holder = undefined;
}

export const PATIENCE = 50;

function* recover(world: MigrationModel, me: number): Generator<void, boolean> {
  for (;;) {
    const seen = yield* look(world);
    const { standing, journals } = seen;
    const todo = recoveryOf(standing, journals);
    yield;
    if (todo.do === 'nothing') return yield* mend(world, me);
    if (todo.do === 'halt') return halt(world, me, seen);
    if (todo.do === 'settle') while (!world.settle(todo.side, todo.epoch, todo.serves)) yield;
    else if (todo.do === 'finish') {
      if (!(yield* finish(world, me, todo))) return false;
    } else if (todo.do === 'lift') while (!world.lift(todo.side, todo.epoch)) yield;
    else if (todo.do === 'raise') {
      if (!(yield* raise(world, me, todo.side))) return false;
    } else if (!world.apply(me, todo.event, highestEpoch(journals))) return false;
    yield;
  }
}

function* mend(world: MigrationModel, me: number): Generator<void, boolean> {
  const seen = yield* look(world);
  const { standing, journals } = seen;
  const fenced = (side: Side): Fenced => (world.open[side] ? 'down' : 'up');
  const fences = { source: fenced('source'), target: fenced('target') };
  yield;
  const todo = mendingOf(standing, journals, fences);
  if (todo.do === 'halt') return halt(world, me, seen);
  if (todo.do === 'lift') while (!world.lift(todo.side, todo.epoch)) yield;
  if (todo.do === 'raise') return yield* raise(world, me, todo.side);
  yield;
  return true;
}

function* raise(world: MigrationModel, me: number, side: Side): Generator<void, boolean> {
  for (;;) {
    yield;
    const isRaised = world.raise(me, side);
    if (isRaised !== undefined) return isRaised;
  }
}

/** Of somebody who has lost the lease, or for whom a side failed over, it says nothing: what was seen together was not there together. */
function halt(world: MigrationModel, me: number, { failOvers }: Seen): false {
  world.isHalted ||= world.holder === me && world.failOvers === failOvers;
  return false;
}

interface Seen {
  readonly standing: Standing;
  readonly journals: Journals;
  readonly failOvers: number;
}

/** One after the other: what was seen first may not be true any more. */
function* look(world: MigrationModel): Generator<void, Seen> {
  const { standing, failOvers } = world;
  yield;
  const source = [...world.journals.source];
  yield;
  return { standing, journals: { source, target: [...world.journals.target] }, failOvers };
}

function* finish(
  world: MigrationModel,
  me: number,
  { lift, epoch }: { readonly lift: Side; readonly epoch: bigint },
): Generator<void, boolean> {
  yield;
  while (!world.lift(lift, epoch)) yield;
  yield;
  return world.apply(me, 'finished');
}

type Flip = { readonly wish: 'cutover' | 'rollback' | 'drill'; readonly random: Random };

function* flip(world: MigrationModel, me: number, { wish, random }: Flip): Generator<void, void> {
  if (!world.apply(me, `${wish}-begun`, highestEpoch(world.journals))) return;
  const { state, epoch } = world.standing;
  const side = fencedSide(actOf(state)!.kind);
  yield;
  const transaction = world.openFence(me, side, epoch);
  yield;
  const isReady = transaction !== undefined && (yield* drain(world, transaction, random));
  if (transaction === undefined || !isReady || wish === 'drill' || random.chance(0.2)) {
    if (transaction !== undefined) transaction.isAlive = false;
    yield;
    // The one transaction of this epoch is rolled back: nothing can decide it any more.
    world.apply(me, 'backed-out');
    return;
  }
  yield;
  if (!world.commit(transaction)) return; // whoever comes next finds out
  yield;
  // Writers wait, and what the state knows both journals are to know: the fence goes before the state learns of it.
  while (!world.lift(otherSide(side), epoch)) yield;
  yield;
  if (!world.apply(me, 'decided')) return;
  yield* finish(world, me, { lift: otherSide(side), epoch });
}

/** The journal row is written early or late; false: not applied in time, or the epoch was settled. */
function* drain(world: MigrationModel, transaction: FenceTransaction, random: Random): Generator<void, boolean> {
  const isEarly = random.chance(0.5);
  if (isEarly && !world.insert(transaction)) return false;
  const isDrained = (): boolean => !world.guards('barrier') || world.applied[transaction.side] >= transaction.marker;
  for (let i = 0; i < PATIENCE && !isDrained(); i++) yield;
  yield;
  return isDrained() && (isEarly || world.insert(transaction));
}
