import { afterEach, expect, test } from 'vitest';
import { PipelineError } from '#schemas/errors.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { flip, recover } from '#services/control/flip/engine.ts';
import { lastDecision } from '#schemas/migration/recovery.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { FLIP_KINDS, type FlipKind, flipTo } from '#services/control/flip/ports.ts';
import { DEFAULT_FLIP_SETTINGS } from '#services/control/flip/settings.ts';
import type { EngineHandle, WorldFaults } from '#test/support/flip-engines.ts';
import { FlipWorld } from '#test/support/flip-world.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const seed = seedFromEnvironment();
const SETTINGS = { ...DEFAULT_FLIP_SETTINGS, finishTimeoutMs: 5_000 };

afterEach(() => installTestHooks({}));

/** A world in which `kind` is what comes next. */
async function worldBefore(kind: FlipKind, worldSeed: number): Promise<FlipWorld> {
  const world = new FlipWorld(worldSeed);
  if (kind === 'rollback') await flipIn(world, 'cutover');
  return world;
}

async function flipIn(
  world: FlipWorld,
  kind: FlipKind,
  more: { drill?: boolean; engine?: EngineHandle; onStep?: (step: string) => void } = {},
) {
  const engine = more.engine ?? world.engine('one');
  const request = { kind, drill: more.drill ?? false, by: engine.name, onStep: ({ step }: { step: string }) => more.onStep?.(step) };
  const [result] = await world.run([flip(engine.ports, SETTINGS, request)]);
  return result;
}

/** As `up`'s keeper does: again and again, until there is nothing left. */
async function recoverIn(world: FlipWorld, restMs = 20_000): Promise<void> {
  world.faults = {};
  for (let i = 0; i < 50; i++) {
    const [result] = await world.run([recover(world.engine(`keeper ${i}`).ports, SETTINGS, { by: 'keeper' })]);
    world.pass(1_000);
    if (result?.status === 'fulfilled') return world.pass(restMs);
  }
  throw new Error('recovery never came to an end');
}

function expectRest(world: FlipWorld, what: string): void {
  expect(world.violations, what).toEqual([]);
  const serves = world.serving();
  expect({ serves: world.row.serves, act: world.row.act, open: world.takesWrites(serves), held: world.held }, what).toEqual({
    serves,
    act: undefined,
    open: true,
    held: {},
  });
  const begun = world.audit.filter(({ event }) => event === 'begun').map(({ epoch }) => epoch);
  const ended = world.audit.filter(({ event }) => event !== 'begun');
  expect(
    ended.map(({ epoch }) => epoch),
    what,
  ).toEqual(begun);
  for (const { epoch, event } of ended) expect(event === 'flipped', what).toBe(world.isDecided(epoch));
}

test.for(FLIP_KINDS)('a %s: every step once, in order, and the other side serves', async (kind) => {
  const world = await worldBefore(kind, seed);
  const steps: string[] = [];
  const result = await flipIn(world, kind, { onStep: (step) => steps.push(step) });
  expect(result, `seed ${seed}`).toMatchObject({ status: 'fulfilled', value: { outcome: 'flipped', serves: flipTo(kind) } });
  expect(steps.join(' ')).toBe(
    'lease recover reverse gates begin hooks prepare compare predict recheck fence marker drain purity final-compare sequences decide open record flags after-hooks finish',
  );
  expect(world.serving()).toBe(flipTo(kind));
  expectRest(world, `seed ${seed}`);
});

test.for(FLIP_KINDS)('a drill of a %s changes nothing and measures the block', async (kind) => {
  const world = await worldBefore(kind, seed);
  const result = await flipIn(world, kind, { drill: true });
  expect(result).toMatchObject({ status: 'fulfilled', value: { outcome: 'drilled', serves: otherSide(flipTo(kind)) } });
  if (result?.status === 'fulfilled' && result.value.outcome === 'drilled') expect(result.value.blockMs).toBeGreaterThan(0);
  expect(world.serving()).toBe(otherSide(flipTo(kind)));
  expectRest(world, `seed ${seed}`);
});

test.for(FLIP_KINDS)('a drill of a %s whose ROLLBACK has no answer: nobody waits until the server notices', async (kind) => {
  const world = await worldBefore(kind, seed);
  world.faults = { deafFence: true };
  expect(await flipIn(world, kind, { drill: true })).toMatchObject({ status: 'fulfilled', value: { outcome: 'drilled' } });
  expectRest(world, `seed ${seed}`);
});

test('a comparison that could not judge everything is not called a difference', async () => {
  const world = await worldBefore('cutover', seed);
  world.faults = { unjudged: true };
  const result = await flipIn(world, 'cutover');
  expect(result).toMatchObject({ status: 'rejected', reason: { code: 'CF-8304' } });
  expect(String(result?.status === 'rejected' && result.reason)).toContain('not known to be equal behind the fence');
});

test('a cut-over of a migration that has ended: refused before anything is set up for it', async () => {
  const world = new FlipWorld(seed);
  world.row = { ...world.row, state: 'aborted' };
  expect(await flipIn(world, 'cutover')).toMatchObject({ status: 'rejected', reason: { code: 'CF-8002' } });
  expect(world.isReverseWanted).toBe(false);
});

test.for([
  ['other gates are closed, and the way back did not stand up: not wanted any more', { closing: 'begin', lateReverse: true }, false],
  ['other gates are closed, and the way back stands: left so', { closing: 'begin' }, true],
  ['only the way back is late: the next attempt finds it', { lateReverse: true }, true],
] as const)('%s', async ([, faults, isWanted]) => {
  const world = new FlipWorld(seed);
  world.faults = faults;
  expect(await flipIn(world, 'cutover')).toMatchObject({ value: { outcome: 'closed' } });
  expect([world.isReverseWanted, world.audit]).toEqual([isWanted, []]);
});

test('a file that wants the target fenced from the first drill on: nobody else writes there, and every flip goes on as else', async () => {
  const world = new FlipWorld(seed);
  const settings = { ...SETTINGS, fencesTarget: true };
  const steps: string[] = [];
  const run = async (kind: FlipKind, drill: boolean) => {
    const onStep = ({ step }: { step: string }): void => void steps.push(step);
    const [result] = await world.run([flip(world.engine(kind).ports, settings, { kind, drill, by: 'one', onStep })]);
    expectRest(world, `seed ${seed}`);
    return result;
  };
  expect(await run('cutover', true)).toMatchObject({ value: { outcome: 'drilled' } });
  expect([world.fenced, world.serving()]).toEqual([{ source: false, target: true }, 'source']);
  for (const kind of ['cutover', 'rollback', 'cutover'] as const)
    expect(await run(kind, false)).toMatchObject({ value: { outcome: 'flipped' } });
  expect(steps.filter((step) => step === 'target-fence')).toHaveLength(1);
});

test('who asks for what is there already is told so', async () => {
  const world = new FlipWorld(seed);
  expect(await flipIn(world, 'rollback')).toMatchObject({ value: { outcome: 'already', serves: 'source' } });
  expect(world.audit).toEqual([]);
});

const FAILURES: readonly (readonly [what: string, faults: WorldFaults, code: string])[] = [
  ['a hook vetoes', { veto: true }, 'CF-8303'],
  ['drift behind the fence', { drift: true }, 'CF-8304'],
  ['a gate closes during the comparison', { closing: 'again' }, 'CF-8310'],
  ['a gate closes behind the fence', { closing: 'fence' }, 'CF-8310'],
  ['the side that is to be locked says nothing', { silentLock: true }, 'CF-8307'],
  ['the pipeline stands still', { stuckPipe: true }, 'CF-8305'],
];

test.for(FLIP_KINDS.flatMap((kind) => FAILURES.map((failure) => [kind, ...failure] as const)))(
  '%s, %s: backed out, and writes go on',
  async ([kind, what, faults, code]) => {
    const world = await worldBefore(kind, seed);
    world.faults = faults;
    const result = await flipIn(world, kind);
    expect(result, `${what}, seed ${seed}`).toMatchObject({ status: 'rejected', reason: { code } });
    expect(world.serving()).toBe(otherSide(flipTo(kind)));
    expectRest(world, `${what}, seed ${seed}`);
  },
);

test.for([
  ['flip-drain', { stuckPipe: true }],
  ['flip-compare', { drift: true }],
] as const)('without the guard %s the world sees what must never be', async ([guard, faults]) => {
  installTestHooks({ disabledGuards: [guard] });
  const violations: string[] = [];
  for (let i = 0; i < 20; i++) {
    const world = await worldBefore('cutover', seed + i);
    world.faults = faults;
    await flipIn(world, 'cutover');
    violations.push(...world.violations);
  }
  expect(violations).not.toEqual([]);
});

test.for(FLIP_KINDS)('%s killed before and behind every call: backed out before the decision, finished behind it', async (kind) => {
  const whole = await worldBefore(kind, seed);
  const counted = whole.engine('one');
  await flipIn(whole, kind, { engine: counted });
  const fates = new Set<string>();
  for (let call = 0; call < counted.calls; call++) {
    for (const half of [0, 1] as const) {
      const world = await worldBefore(kind, seed + call);
      const engine = world.engine('one');
      let killedAt = 'not at all';
      engine.onCall = (number, at, what) => {
        if (number !== call || at !== half) return;
        killedAt = `${half === 0 ? 'before' : 'behind'} ${what}`;
        world.kill(engine);
      };
      await flipIn(world, kind, { engine });
      const decided = world.serving() === flipTo(kind);
      await recoverIn(world);
      expectRest(world, `killed ${killedAt}, seed ${seed + call}`);
      expect(world.serving(), `killed ${killedAt}, seed ${seed + call}`).toBe(decided ? flipTo(kind) : otherSide(flipTo(kind)));
      fates.add(decided ? 'finished' : 'backed out');
    }
  }
  expect([...fates].toSorted()).toEqual(['backed out', 'finished']);
});

test.for(FLIP_KINDS)('%s stopped at every call, overtaken by a recovery or by the next flip, goes on as if nothing was', async (kind) => {
  const whole = await worldBefore(kind, seed);
  const counted = whole.engine('one');
  await flipIn(whole, kind, { engine: counted });
  for (let call = 0; call < counted.calls; call++) {
    for (const next of ['nothing', 'recovery', 'flips'] as const) {
      for (const isFast of [true, false]) {
        const what = `stopped at call ${call}, then ${next}${isFast ? ' at once' : ''}, seed ${seed + call}`;
        const world = await worldBefore(kind, seed + call);
        const engine = world.engine('zombie');
        engine.onCall = (number, half) => {
          if (number === call && half === 1) engine.isStopped = true;
        };
        const asleep = flip(engine.ports, SETTINGS, { kind, drill: false, by: 'zombie' });
        await world.run([asleep]);
        // Its lease runs out, or is taken from it while its sessions are still there.
        if (isFast) world.lease = undefined;
        else world.pass(20_000);
        if (next !== 'nothing') await recoverIn(world, isFast ? 0 : 20_000);
        if (next === 'flips') {
          const to = world.row.serves === 'source' ? 'cutover' : 'rollback';
          expect(await flipIn(world, to, { engine: world.engine('next') }), what).toMatchObject({ value: { outcome: 'flipped' } });
        }
        engine.isStopped = false;
        await world.run([asleep]);
        await recoverIn(world);
        expectRest(world, what);
      }
    }
  }
});

/** @returns how often the decision stood, and how often it was as if it had not been made */
async function failOvers(kind: FlipKind, worldSeed: number): Promise<Record<'stood' | 'undone', number>> {
  const whole = await worldBefore(kind, worldSeed);
  const counted = whole.engine('one');
  let commit = 0;
  counted.onCall = (number, _half, what) => {
    if (what === 'commit') commit = number;
  };
  await flipIn(whole, kind, { engine: counted });
  const came = { stood: 0, undone: 0 };
  for (let call = commit; call < counted.calls; call++) {
    for (const after of ['goes on', 'stopped', 'killed'] as const) {
      const what = `failed over behind call ${call} (commit: ${commit}), the engine ${after}, seed ${worldSeed + call}`;
      const world = await worldBefore(kind, worldSeed + call);
      const engine = world.engine('one');
      engine.onCall = (number, half) => {
        if (number !== call || half !== 1) return;
        world.failOver();
        if (after === 'killed') world.kill(engine);
        else engine.isStopped = after === 'stopped';
      };
      const flipping = flip(engine.ports, SETTINGS, { kind, drill: false, by: 'one' });
      await world.run([flipping]);
      if (after === 'stopped') world.pass(20_000);
      await recoverIn(world);
      engine.isStopped = false;
      await world.run([flipping]);
      await recoverIn(world);
      const serves = world.serving();
      expect({ violations: world.violations, serves: world.row.serves, fenced: world.fenced, act: world.row.act }, what).toEqual({
        violations: [],
        serves,
        // Before the first decision the target has none.
        fenced: { [serves]: false, [otherSide(serves)]: lastDecision(world.journals()) !== undefined },
        act: undefined,
      });
      came[serves === flipTo(kind) ? 'stood' : 'undone']++;
    }
  }
  return came;
}

test.for(FLIP_KINDS)('the side that has decided a %s fails over and loses it: one side serves, and the state knows which', async (kind) => {
  const { stood, undone } = await failOvers(kind, seed);
  // Once the other side was opened it stands; before that it never was.
  expect([stood > 3, undone > 0], `seed ${seed}`).toEqual([true, true]);
});

test.for(['lift-echo', 'settle-echo'])(
  'without the guard %s a fail-over leaves both sides open, or nobody knows who serves',
  async (guard) => {
    installTestHooks({ disabledGuards: [guard] });
    await expect(failOvers('rollback', seed)).rejects.toThrow(/failed over behind call|recovery never came to an end/);
  },
);

test('several engines at once, with failing calls, kills and processes that stop for long and go on as if nothing was', async () => {
  const outcomes: Record<string, number> = {};
  for (let round = 0; round < 400; round++) {
    const random = seeded(seed + round);
    const world = await worldBefore(random.chance(0.5) ? 'cutover' : 'rollback', seed + round);
    world.faults = { failing: random.chance(0.5) ? 0.05 : 0, drift: random.chance(0.1), stuckPipe: random.chance(0.1) };
    const engines = Array.from({ length: random.between(2, 3) }, (_, i) => world.engine(`engine ${i}`));
    const work = engines.map(async (engine, i) => {
      const at = random.between(0, 40);
      const isKill = random.chance(0.4);
      engine.onCall = (number) => {
        if (number !== at) return;
        if (isKill) world.kill(engine);
        else engine.isStopped = true;
      };
      return i === 2
        ? recover(engine.ports, SETTINGS, { by: engine.name })
        : flip(engine.ports, SETTINGS, { kind: random.chance(0.5) ? 'cutover' : 'rollback', drill: random.chance(0.1), by: engine.name });
    });
    const first = await world.run(work);
    // Whoever was stopped wakes up, a lease later or not, beside one who recovers.
    world.timeMs += random.chance(0.7) ? 20_000 : 0;
    const late = random.chance(0.5);
    if (!late) for (const engine of engines) engine.isStopped = false;
    await world.run([recover(world.engine('keeper').ports, SETTINGS, { by: 'keeper' }), ...(late ? [] : work)]);
    if (random.chance(0.5)) await flipIn(world, world.row.serves === 'source' ? 'cutover' : 'rollback', { engine: world.engine('next') });
    for (const engine of engines) engine.isStopped = false;
    await world.run(work);
    await recoverIn(world);
    expectRest(world, `round ${round}, seed ${seed}`);
    for (const result of first)
      outcomes[result.status === 'fulfilled' ? 'done' : codeOf(result.reason)] = (outcomes[codeOf(result.status)] ?? 0) + 1;
  }
  expect(Object.keys(outcomes).length, JSON.stringify(outcomes)).toBeGreaterThan(2);
});

function codeOf(error: unknown): string {
  return error instanceof PipelineError ? error.code : String(error);
}

test('the serving side is fenced though nothing is under way: the fence is lifted', async () => {
  const world = await worldBefore('rollback', seed);
  world.fenced.target = true;
  const [result] = await world.run([recover(world.engine('keeper').ports, SETTINGS, { by: 'keeper' })]);
  expect(result).toMatchObject({ status: 'fulfilled', value: { outcome: 'mended' } });
  expectRest(world, `seed ${seed}`);
});

test('the source serves again, and the fence on the target is gone: it is raised', async () => {
  const world = await worldBefore('rollback', seed);
  await flipIn(world, 'rollback');
  world.fenced.target = false;
  const [result] = await world.run([recover(world.engine('keeper').ports, SETTINGS, { by: 'keeper' })]);
  expect(result).toMatchObject({ status: 'fulfilled', value: { outcome: 'mended' } });
  expect(world.fenced).toEqual({ source: false, target: true });
  expect(await flipIn(world, 'cutover', { engine: world.engine('next') })).toMatchObject({ value: { outcome: 'flipped' } });
});

test('the target serves, and the fence on the source is gone: a person has to look', async () => {
  const world = await worldBefore('rollback', seed);
  world.fenced.source = false;
  const [result] = await world.run([recover(world.engine('keeper').ports, SETTINGS, { by: 'keeper' })]);
  expect(result).toMatchObject({ status: 'rejected', reason: { code: 'CF-8005' } });
});

test('the target serves, and the fence on the source leaves out what came later: raised anew; whose it is a rollback says in its preparation', async () => {
  const world = await worldBefore('rollback', seed);
  world.faults = { hole: 'source' };
  const keep = async () => (await world.run([recover(world.engine('keeper').ports, SETTINGS, { by: 'keeper' })]))[0];
  expect(await keep()).toMatchObject({ status: 'fulfilled', value: { outcome: 'mended' } });
  expect(world.faults).toEqual({});
  world.faults = { hole: 'source', foreignTables: true };
  expect(await keep()).toMatchObject({ status: 'rejected', reason: { code: 'CF-8102' } });
  expect(await flipIn(world, 'rollback')).toMatchObject({ status: 'rejected', reason: { code: 'CF-8102', details: { step: 'prepare' } } });
});

test('a rollback that was forced while the target was away: the state follows, and the target is fenced', async () => {
  const world = await worldBefore('rollback', seed);
  world.journal.source.set(2n, { serves: 'source', isVoid: false });
  world.fenced.source = false;
  world.violations.length = 0;
  await world.run([recover(world.engine('keeper').ports, SETTINGS, { by: 'keeper' })]);
  expect(world.row).toMatchObject({ state: 'following', serves: 'source', act: undefined });
  expect(world.fenced).toEqual({ source: false, target: true });
  expect(await flipIn(world, 'cutover', { engine: world.engine('next') })).toMatchObject({ value: { outcome: 'flipped' } });
});
