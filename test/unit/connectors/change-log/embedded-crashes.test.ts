/** Random work, random faults, random crashes, many times over: nothing acknowledged or shown is ever lost, nothing refused comes back. */
import { expect, test } from 'vitest';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { batchOf, readAll, recordsOf } from '#test/support/log-records.ts';
import { MemoryDisk, type Fault } from '#test/support/memory-disk.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

const WORLDS = 150;
const LIVES = 6;

/** What the outside knows, over all lives of one log. Offsets index `records`. */
interface World {
  readonly random: Random;
  readonly disk: MemoryDisk;
  /** Everything that was acknowledged, or shown by an open log: must stay. */
  readonly records: string[];
  start: number;
  committed: number;
  nextRecord: number;
}

interface Attempt {
  readonly records: readonly string[];
  outcome: 'open' | 'acknowledged' | 'refused';
}

function randomFault({ random }: World): Fault | undefined {
  if (!random.chance(0.03)) return undefined;
  if (random.chance(0.3)) return { kind: 'stop' };
  return { kind: 'reject', code: random.chance(0.5) ? 'ENOSPC' : 'EIO', afterBytes: random.between(0, 400) };
}

function randomRecords(world: World): string[] {
  return Array.from({ length: world.random.between(1, 4) }, () => {
    world.nextRecord += 1;
    return `${world.nextRecord}:${'abcdefgh'.repeat(world.random.between(0, world.random.chance(0.1) ? 200 : 12))}`;
  });
}

/** What follows the known records must be appends of the last life that nobody heard of, whole, in order. */
function checkRecovered(world: World, shown: readonly string[], attempts: readonly Attempt[], note: string): void {
  expect(shown.slice(0, world.records.length - world.start), note).toEqual(world.records.slice(world.start));
  let extra = shown.slice(world.records.length - world.start);
  const candidates = attempts.filter(({ outcome }) => outcome !== 'acknowledged');
  for (const { records } of candidates) {
    if (extra.length > 0 && extra[0] === records[0]) {
      expect(extra.slice(0, records.length), note).toEqual(records);
      extra = extra.slice(records.length);
    }
  }
  expect(extra, note).toEqual([]);
}

async function watch(topic: Topic, from: number, seen: Map<number, string>): Promise<void> {
  const cursor = topic.read(0, from);
  for (;;) {
    const batch = await cursor.next(new AbortController().signal).catch(() => undefined);
    if (batch === undefined) return;
    for (const [index, record] of recordsOf(batch).entries()) seen.set(batch.baseOffset + index, record.toString());
  }
}

function append(world: World, topic: Topic, attempts: Attempt[]): Promise<void> {
  const attempt: Attempt = { records: randomRecords(world), outcome: 'open' };
  attempts.push(attempt);
  return topic.append(0, batchOf(...attempt.records)).then(
    ({ baseOffset, endOffset }) => {
      attempt.outcome = 'acknowledged';
      expect([baseOffset, endOffset]).toEqual([world.records.length, world.records.length + attempt.records.length]);
      world.records.push(...attempt.records);
    },
    (error: unknown) => {
      expect(error).toMatchObject({ code: 'CF-3001' });
      attempt.outcome = 'refused';
    },
  );
}

async function work(world: World, topic: Topic, attempts: Attempt[]): Promise<void> {
  const { random } = world;
  for (let step = 0; step < 25; step += 1) {
    const burst = Array.from({ length: random.between(1, 5) }, () => append(world, topic, attempts));
    if (random.chance(0.7)) await Promise.all(burst);
    if (random.chance(0.1)) {
      const offset = random.between(0, topic.end(0));
      await topic.commit('sink', 0, offset).then(
        () => (world.committed = Math.max(world.committed, offset)),
        () => undefined,
      );
    }
    if (random.chance(0.05)) {
      await topic.trim(0, random.between(0, topic.end(0))).catch(() => undefined);
    }
  }
}

async function live(world: World, note: string): Promise<void> {
  const { random, disk } = world;
  const attempts: Attempt[] = [];
  const seen = new Map<number, string>();
  const log = await openEmbeddedLog({
    directory: '/data/log',
    disk: disk.mount(),
    segmentBytes: 3000,
    tailBytes: random.chance(0.5) ? 500 : 100_000,
  });
  const topic = await log.topic('raw', { partitions: 1 });
  void watch(topic, topic.start(0), seen);
  disk.fault = () => randomFault(world);
  await Promise.race([work(world, topic, attempts), disk.stopped]);
  disk.fault = undefined;
  world.start = topic.start(0);
  if (random.chance(0.5)) disk.losePower();
  else disk.kill();

  const again = await openEmbeddedLog({ directory: '/data/log', disk: disk.mount(), segmentBytes: 3000 });
  const reopened = await again.topic('raw', { partitions: 1 });
  // A trim that was not done when the disk stopped may come back, or go on to be done.
  expect(reopened.start(0), note).toBeLessThanOrEqual(world.records.length);
  world.start = Math.max(world.start, reopened.start(0));
  const shown = await readAll(reopened, 0, world.start);
  checkRecovered(world, shown, attempts, note);
  for (const [offset, record] of seen)
    if (offset >= world.start) expect(shown[offset - world.start], `${note}, seen at ${offset}`).toBe(record);
  expect(reopened.committed('sink', 0) ?? 0, note).toBeGreaterThanOrEqual(world.committed);
  // Shown once by an open log, it must stay.
  world.records.splice(world.start, Infinity, ...shown);
  if (random.chance(0.3)) await again.close();
  if (random.chance(0.5)) disk.losePower();
  else disk.kill();
}

const base = seedFromEnvironment();

test(`nothing acknowledged or shown is lost, whatever fails and whenever the power goes (seed ${base})`, async () => {
  for (let index = 0; index < WORLDS; index += 1) {
    const seed = base + index;
    const random = seeded(seed);
    const world: World = { random, disk: new MemoryDisk(random), records: [], start: 0, committed: 0, nextRecord: 0 };
    for (let life = 0; life < LIVES; life += 1) await live(world, `CROSSFADE_SEED=${seed}, life ${life}`);
  }
});
