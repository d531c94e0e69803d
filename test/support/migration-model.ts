/**
 * Source, target and the operators of a migration in memory, around the real transitions and the real recovery. Guarantee: one seed, one history;
 * every step of an operator is one act that a database does or does not do, and between any two of them it may be killed, or sleep while another one
 * takes over. After each step what must always hold is looked at, and `settled` asks for what must hold once somebody has recovered.
 */
import { type JournalRow, highestEpoch, type Journals, mendingOf, recoveryOf, whoServes } from '#schemas/migration/recovery.ts';
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
import type { Random } from './random.ts';

/** What the model may leave out, to see that it is missed. */
export type ModelGuard = 'lease' | 'barrier' | 'lift-epoch' | 'recovery' | 'target-fence';
export type Wish = 'cutover' | 'rollback' | 'drill' | 'abort' | 'forced' | 'nothing';

type Row = Pick<JournalRow, 'epoch' | 'serves' | 'isVoid'>;

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

const SIDES: readonly Side[] = ['source', 'target'];

export class MigrationModel {
  standing: Standing = BEGINNING;
  readonly journals: { source: Row[]; target: Row[] } = { source: [], target: [] };
  /** No fence is committed. Nobody was told to write to the target before the first flip, which counts as a fence. */
  readonly open: Record<Side, boolean> = { source: true, target: false };
  /** A forced rollback leaves the target as it is, until it can be reached and fenced. */
  isForced = false;
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
  readonly #backedOut: Row[] = [];
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
    if (this.isForced && side === 'target') return; // the target is away
    if (!this.#isWritable(side)) return;
    const other = otherSide(side);
    const isBehind = this.applied[other] < this.written[other];
    if (isBehind && !this.isForced) throw new ModelViolation(`the ${side} is written while writes of the ${other} are not there yet`);
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
    if (!isLater || !this.guards('lift-epoch')) this.open[side] = true;
    return true;
  }

  /** In one transaction that has locked the state row, with a decision of an epoch that nothing else has. False: waits for a lock. */
  raise(side: Side): boolean {
    if (this.transactions[side]?.isAlive === true) return false;
    if (this.standing.serves === side || actOf(this.standing.state) !== undefined) return true;
    if (this.guards('target-fence')) {
      const highest = highestEpoch(this.journals);
      const epoch = (highest > this.standing.epoch ? highest : this.standing.epoch) + 1n;
      this.standing = { ...this.standing, epoch };
      this.journals[side].push({ epoch, serves: otherSide(side), isVoid: false });
      this.open[side] = false;
    }
    this.isForced = false;
    this.applied[side] = this.written[side]; // what was not carried is given up: a person said so
    return true;
  }

  /** A person's word, while the target cannot be reached. */
  force(): void {
    if (this.isForced || whoServes({ source: this.journals.source, target: [] }) !== 'target') return;
    if (this.transactions.source?.isAlive === true) return; // its row of the journal is waited for
    this.isForced = true;
    // Whoever acted has lost the target, and with it the lease and the fences there.
    this.holder = undefined;
    if (this.transactions.target !== undefined) this.transactions.target.isAlive = false;
    const epoch = highestEpoch({ source: this.journals.source, target: [] }) + 1n;
    this.journals.source.push({ epoch, serves: 'source', isVoid: false });
    this.open.source = true;
  }

  /** Always, but for the time in which a target was given up by force and is not back. */
  check(): void {
    if (this.isForced) return;
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

const PATIENCE = 50;

function* recover(world: MigrationModel, me: number): Generator<void, boolean> {
  for (;;) {
    const { standing, journals } = yield* look(world);
    const todo = recoveryOf(standing, journals);
    yield;
    if (todo.do === 'nothing') return yield* mend(world, me);
    if (todo.do === 'halt') return halt(world, me);
    if (todo.do === 'settle') while (!world.settle(todo.side, todo.epoch, todo.serves)) yield;
    else if (todo.do === 'finish') {
      if (!(yield* finish(world, me, todo))) return false;
    } else if (!world.apply(me, todo.event, highestEpoch(journals))) return false;
    yield;
  }
}

function* mend(world: MigrationModel, me: number): Generator<void, boolean> {
  const { standing, journals } = yield* look(world);
  const fences = { source: !world.open.source, target: !world.open.target };
  yield;
  const todo = mendingOf(standing, journals, fences);
  if (todo.do === 'halt') return halt(world, me);
  if (todo.do === 'lift') while (!world.lift(todo.side, todo.epoch)) yield;
  if (todo.do === 'raise') while (!world.raise(todo.side)) yield;
  yield;
  return true;
}

/** Of somebody who has lost the lease it says nothing: what was seen together was not there together. */
function halt(world: MigrationModel, me: number): false {
  world.isHalted ||= world.holder === me;
  return false;
}

/** One after the other: what was seen first may not be true any more. */
function* look(world: MigrationModel): Generator<void, { readonly standing: Standing; readonly journals: Journals }> {
  const { standing } = world;
  yield;
  const source = [...world.journals.source];
  yield;
  return { standing, journals: { source, target: [...world.journals.target] } };
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
  // Writers wait: the fence goes before the state learns of it.
  if (random.chance(0.5)) while (!world.lift(otherSide(side), epoch)) yield;
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

interface Actor {
  readonly id: number;
  readonly work: Generator<void, void>;
}

const WISHES: readonly Wish[] = ['cutover', 'cutover', 'cutover', 'rollback', 'rollback', 'drill', 'nothing', 'nothing', 'abort'];
const OPERATORS_MAX = 3;

export interface Play {
  readonly steps: number;
  readonly without?: readonly ModelGuard[];
  /** Told of the states that were come to. */
  readonly seen?: Set<MigrationState>;
}

/** Undefined, or what went wrong. */
export function play(random: Random, { steps, without = [], seen }: Play): string | undefined {
  const world = new MigrationModel(random, without);
  const mayForce = random.chance(0.5);
  const actors: Actor[] = [];
  let last = 0;
  const start = (wish: Wish): Actor => {
    const id = ++last;
    return { id, work: operate(world, id, { wish, random }) };
  };
  try {
    for (let i = 0; i < steps; i++) {
      const luck = random.next();
      if (luck < 0.3) world.stir();
      else if (luck < 0.35 && world.holder !== undefined) world.hasExpired = true;
      else if (luck < 0.37) kill(world, actors, random);
      else if (luck < 0.38 && mayForce) world.force();
      else {
        if (actors.length < OPERATORS_MAX) actors.push(start(WISHES[random.between(0, WISHES.length - 1)]!));
        // Who came first sleeps most of the time, and so wakes up in another world.
        const actor = random.chance(0.8) ? actors.at(-1)! : actors[random.between(0, actors.length - 1)]!;
        if (actor.work.next().done === true) actors.splice(actors.indexOf(actor), 1);
      }
      world.check();
    }
    conclude(world, start('nothing'), actors);
    for (const state of world.states) seen?.add(state);
    return undefined;
  } catch (error) {
    if (error instanceof ModelViolation) return error.message;
    throw error;
  }
}

/** Its sessions end at once, or a while later: nobody commits in them any more. */
function kill(world: MigrationModel, actors: Actor[], random: Random): void {
  const at = random.between(0, actors.length - 1);
  const [actor] = actors.splice(at, 1);
  const isOrphan = ({ owner }: FenceTransaction): boolean => !actors.some(({ id }) => id === owner);
  for (const side of SIDES) {
    const transaction = world.transactions[side];
    if (transaction !== undefined && isOrphan(transaction) && random.chance(0.7)) transaction.isAlive = false;
  }
  if (actor !== undefined && world.holder === actor.id) {
    if (random.chance(0.7)) world.holder = undefined;
    else world.hasExpired = true;
  }
}

const ROUNDS_MAX = 10_000;

/** Somebody recovers while all others sleep; then those wake up, and must change nothing. */
function conclude(world: MigrationModel, recoverer: Actor, sleepers: readonly Actor[]): void {
  for (const side of SIDES) {
    const transaction = world.transactions[side];
    // Of one that sleeps only what it holds against the recovery; the server ends the sessions of the dead.
    if (transaction !== undefined && !sleepers.some(({ id }) => id === transaction.owner)) transaction.isAlive = false;
  }
  world.hasExpired = true;
  const run = (actor: Actor, most: number): void => {
    for (let i = 0; i < most; i++) {
      const { done } = actor.work.next();
      world.check();
      if (done === true) return;
      // The server ends a transaction that idles.
      if (i === PATIENCE) for (const side of SIDES) if (world.transactions[side] !== undefined) world.transactions[side].isAlive = false;
    }
    throw new ModelViolation('the recovery comes to no end');
  };
  run(recoverer, ROUNDS_MAX);
  world.settled();
  world.isClosed = true;
  for (const sleeper of sleepers) run(sleeper, ROUNDS_MAX);
  world.settled();
}
