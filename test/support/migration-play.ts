/**
 * A history of the model (migration-model.ts) from one seed: operators begin, sleep, wake up and are killed, leases expire, sides fail over; then somebody
 * recovers while all others sleep, and those wake up.
 */
import type { MigrationState } from '#schemas/migration/transitions.ts';
import { type ModelGuard, MigrationModel, ModelViolation, operate, PATIENCE, SIDES, type Wish } from './migration-model.ts';
import type { Random } from './random.ts';

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
  const mayFailOver = random.chance(0.5);
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
      else if (luck < 0.4 && mayFailOver) world.failOver();
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
  const isOrphan = ({ owner }: { readonly owner: number }): boolean => !actors.some(({ id }) => id === owner);
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
