/** `up` is killed again and again, whichever side serves: every write that was acknowledged comes to the other side, and none goes round. */
import { expect, test } from 'vitest';
import type { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { openSession } from '#test/support/application.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { ReverseWorld } from '#test/support/reverse-world.ts';

const LONG_MS = 400_000;
/** In each of the three phases. */
const KILLS = 2;
const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, note text)';

/** Writes until stopped; what is told is committed. */
class Writer {
  readonly #stop = new AbortController();
  readonly acknowledged = new Map<number, number>();
  readonly done: Promise<void>;

  constructor(url: string, seed: number) {
    this.done = this.#run(url, seed);
  }

  async #run(url: string, seed: number): Promise<void> {
    const random = seeded(seed);
    await using session = await openSession(url);
    for (let v = 1; !this.#stop.signal.aborted; v++) {
      const id = random.between(1, 400);
      await session.query(`INSERT INTO t VALUES (${id}, ${v}, 'w') ON CONFLICT (id) DO UPDATE SET v = ${v}`);
      this.acknowledged.set(id, v);
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }
}

async function values(url: string): Promise<Map<number, number>> {
  await using session = await openSession(url);
  const rows = await session.query('SELECT id, v FROM t');
  return new Map(rows.map(({ id, v }) => [Number(id), Number(v)]));
}

test('no acknowledged write is lost, in either direction', { timeout: LONG_MS }, async () => {
  const [from, to] = [14, 18] as const;
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const sql = [TABLE, `INSERT INTO t SELECT g, 0, repeat('x', 50) FROM generate_series(1, 300) g`];
  await using world = await ReverseWorld.open({
    name: `kills_${from}`,
    from,
    to,
    source: sql,
    target: [TABLE],
    tables: '  - from: public.*\n',
  });
  let up: Pipeline = world.start();
  await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });

  // The path is begun under kills, too.
  for (const point of ['reverse.slot-gone', 'reverse.slot-made', 'reverse.begun']) {
    await up.kill();
    up = world.start({ CROSSFADE_TEST_FAILPOINT: point });
    await world.want();
    expect(await up.ended(), `${seed} ${up.logTail()}`).toMatchObject({ signal: 'SIGKILL' });
  }
  const points = ['log.synced', 'slot.confirm', 'sink.applied', 'sink.commit', 'sink.committed', 'log.append'];
  const writeUnderKills = async (side: 'source' | 'target'): Promise<Map<number, number>> => {
    const writer = new Writer(world[side], seed);
    for (let i = 0; i < KILLS; i++) {
      await up.kill();
      const point = points[random.between(0, points.length - 1)]!;
      up = world.start({ CROSSFADE_TEST_FAILPOINT: `${point}:${random.between(1, 20)}` });
      expect(await up.ended(), `${seed} ${point} ${up.logTail()}`).toMatchObject({ signal: 'SIGKILL' });
    }
    up = world.start();
    await writer.stop();
    const written = await world.versions(side, 't');
    await world.proven();
    await world.caughtUp();
    expect(await world.versions(side, 't')).toBe(written);
    return writer.acknowledged;
  };
  const sameEverywhere = async (acknowledged: ReadonlyMap<number, number>): Promise<void> => {
    const [source, target] = [await values(world.source), await values(world.target)];
    for (const [id, v] of acknowledged) expect([seed, id, source.get(id), target.get(id)]).toEqual([seed, id, v, v]);
    expect(source).toEqual(target);
  };

  await sameEverywhere(await writeUnderKills('source'));
  await world.serve('target');
  await sameEverywhere(await writeUnderKills('target'));
  await world.serve('source');
  await sameEverywhere(await writeUnderKills('source'));
  expect(await world.foreign()).toEqual([]);
  expect(await world.verified()).toMatchObject({ differences: 0, inconclusive: 0 });
});
