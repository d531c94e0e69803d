/** Transformers that crash, are stopped, hold the same partitions at once and meet failing produces: nothing is left out, and no claim lies. */
import { expect, test } from 'vitest';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';
import { plainMapping, tableMapping, type Row, type RowChange } from '#test/support/raw-events.ts';
import { TransformerWorld, turns, type RunningTransformer } from '#test/support/transformer-world.ts';

const PARTITIONS = 3;
const TABLES = [
  tableMapping({ name: 'item', tenants: ['ours'] }),
  tableMapping({ name: 'renamed' }),
  plainMapping({ name: 'plain' }),
  plainMapping({ name: 'heap', keyless: true }),
  tableMapping({ name: 'log', keyless: true }),
];
const HISTORIES = 40;
const STEPS = 120;
const TURNS_MAX = 20_000;

function randomChange(random: Random, keyless: boolean): RowChange {
  const row = (): Row => [String(random.between(1, 9)), random.chance(0.5) ? 'ours' : 'theirs', `body ${random.between(0, 99)}`, null];
  const roll = random.between(0, 9);
  if (roll < 3) return { op: 'c', after: row() };
  if (roll < 4) return { op: 'r', after: row() };
  if (roll < 7) return { op: 'u', after: row(), ...((keyless || random.chance(0.3)) && { before: row() }) };
  if (roll < 8 && !keyless) return { op: 'move', from: row(), after: row() };
  return random.chance(0.1) ? { op: 't' } : { op: 'd', before: row() };
}

/** Each number to none, one or two of them. */
function share(random: Random, running: readonly RunningTransformer[]): void {
  const given = running.map((): number[] => []);
  for (let number = 0; number < PARTITIONS; number++) {
    for (let holders = random.between(0, 2); holders > 0 && given.length > 0; holders--) {
      const to = given[random.between(0, given.length - 1)]!;
      if (!to.includes(number)) to.push(number);
    }
  }
  running.forEach((one, i) => one.share.give(given[i]!));
}

async function play(random: Random): Promise<TransformerWorld> {
  const world = await TransformerWorld.open({ random, failureRate: 0.08, partitions: PARTITIONS, tables: TABLES });
  world.announce(0);
  let announced = 1;
  const running: RunningTransformer[] = [];
  const pick = (): RunningTransformer => running[random.between(0, running.length - 1)]!;
  const forget = (one: RunningTransformer): unknown => running.splice(running.indexOf(one), 1);
  for (let step = 0; step < STEPS; step++) {
    for (let changes = random.between(0, 6); changes > 0; changes--) {
      const index = random.between(0, announced - 1);
      world.write(index, randomChange(random, TABLES[index]!.sourceKey.length === 0));
    }
    if (announced < TABLES.length && random.chance(0.08)) world.announce(announced++);
    const roll = random.next();
    if (running.length < 3 && roll < 0.15) running.push(world.start());
    else if (running.length > 0 && roll < 0.2) {
      const one = pick();
      forget(one);
      one.cluster.crash();
    } else if (running.length > 0 && roll < 0.23) {
      const one = pick();
      forget(one);
      void one.stop();
    } else if (roll < 0.5) share(random, running);
    await turns(random.between(1, 12));
  }
  for (const one of running) one.cluster.crash();
  const last = world.start();
  last.share.give(Array.from({ length: PARTITIONS }, (_, i) => i));
  for (let left = TURNS_MAX; left > 0 && !world.isDone && world.faults.length === 0; left--) await turns(1);
  await last.stop();
  return world;
}

test(
  'after any history the mapped topics hold what mapping the raw topics gives, once, and every claim was true',
  { timeout: 120_000 },
  async () => {
    const first = seedFromEnvironment();
    for (let seed = first; seed < first + HISTORIES; seed++) {
      const world = await play(seeded(seed));
      expect({ seed, faults: world.faults.slice(0, 3) }).toEqual({ seed, faults: [] });
      expect({ seed, done: world.isDone }).toEqual({ seed, done: true });
      const { mapped, expected } = world.check.sides;
      expect(expected.length).toBeGreaterThan(100);
      expect({ seed, mapped }).toEqual({ seed, mapped: expected });
    }
  },
);
