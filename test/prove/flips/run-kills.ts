/**
 * The process of a flip is killed at every failpoint, both ways, under writes; now and then the instance with it. Guarantee: returns only when somebody always brought it to
 * an end: the side that serves takes writes, the other one refuses them once there was a decision, and no acknowledged write is missing.
 */
import { runCommand } from '#services/demo/pipeline/command.ts';
import { execute } from '#test/support/application.ts';
import { FAILPOINTS } from '#schemas/test-hooks.ts';
import { seeded } from '#test/support/random.ts';
import {
  flipArgs,
  flipOrThrow,
  type FlipProofStage,
  openFlipStage,
  refuses,
  requireNothingLost,
  type Side,
  waitUntil,
} from './flip-stage.ts';

export interface FlipKillsOptions {
  /** Of the failpoints so many, drawn; all of them when absent. */
  readonly points?: number;
  readonly isFull: boolean;
  readonly seed: number;
  readonly say: (text: string) => void;
}

const RATE = 50;
/** `flip.settled` is the recovery's own: struck there. */
const POINTS = FAILPOINTS.filter((point) => /^(flip|fence)\./.test(point) && point !== 'flip.settled' && !point.startsWith('fence.swap'));
const DECIDED = ['fence.committed', 'flip.decided', 'flip.opened', 'flip.announced', 'flip.told'];

export async function runFlipKills({ points, isFull, seed, say }: FlipKillsOptions): Promise<Record<string, number>> {
  const random = seeded(seed);
  await using opened = await openFlipStage({ name: 'flipkills', isFull, seed, rate: RATE });
  const { stage, application } = opened;
  await flipOrThrow(stage, ['drill']); // so that the way back stands
  const chosen = POINTS.map((point) => ({ point, order: random.next() })).toSorted((a, b) => a.order - b.order);
  let [serves, kills, finished, instanceKills, isFlipped] = ['source' as Side, 0, 0, 0, false];
  for (const { point } of chosen.slice(0, points)) {
    for (const kind of ['cutover', 'rollback'] as const) {
      if ((kind === 'cutover') === (serves === 'target')) {
        // The flip before was backed out: it is made now, so that the other one can be killed.
        serves = (await flipOrThrow(stage, flipArgs(kind === 'cutover' ? 'rollback' : 'cutover', 'flipkills'))).serves;
        isFlipped = true;
      }
      const withInstance = random.chance(0.3);
      await killAt(opened, point, flipArgs(kind, 'flipkills'));
      if (withInstance) {
        instanceKills++;
        await opened.killInstance();
        await recoverByCommand(opened, random.chance(0.5));
        await opened.startInstance();
      }
      kills++;
      serves = await settled(opened, `${kind} killed at ${point}`);
      const isDecided = serves === (kind === 'cutover' ? 'target' : 'source');
      if (isDecided !== DECIDED.includes(point)) throw new Error(`${kind} killed at ${point}: the ${serves} serves`);
      if (isDecided) finished++;
      isFlipped ||= isDecided;
      const other = serves === 'source' ? 'target' : 'source';
      if (await refuses(opened.urls[serves])) throw new Error(`${kind} killed at ${point}: the ${serves} serves and refuses writes`);
      if (isFlipped && !(await refuses(opened.urls[other]))) throw new Error(`${kind} killed at ${point}: both sides take writes`);
      say(`${kind} killed at ${point}${withInstance ? ', and the instance' : ''}: the ${serves} serves`);
    }
  }
  const seen = application.lines().length;
  await waitUntil(async () => application.lines().length > seen + RATE / 2, 'writes to go on');
  const lines = await application.stop();
  const writes = await requireNothingLost(opened, serves, lines);
  return {
    kills,
    finished,
    'backed out': kills - finished,
    'instances killed with it': instanceKills,
    'acknowledged writes': writes,
    'acknowledged writes lost': 0,
  };
}

async function killAt({ stage }: FlipProofStage, point: string, args: readonly string[]): Promise<void> {
  const env = { CROSSFADE_TEST_FAILPOINT: point };
  const outcome = await runCommand(args, { ...stage.pipeline, env });
  if (outcome.code !== null) throw new Error(`crossfade ${args.join(' ')} came to an end before ${point}: ${outcome.stderr.slice(-2000)}`);
}

/** Without an instance the next command does it, whatever it was for. */
async function recoverByCommand({ stage }: FlipProofStage, isKilledToo: boolean): Promise<void> {
  const args = ['cutover', '--dry-run'];
  if (isKilledToo) await runCommand(args, { ...stage.pipeline, env: { CROSSFADE_TEST_FAILPOINT: 'flip.settled' } });
  await runCommand(args, stage.pipeline);
}

async function settled({ stage }: FlipProofStage, what: string): Promise<Side> {
  const read = async (): Promise<Record<string, string | null> | undefined> =>
    (await execute(stage.targetUrl, `SELECT serves, act::text AS act FROM crossfade.migration WHERE name = 'flipkills'`))[0];
  await waitUntil(async () => typeof (await read())?.['act'] !== 'string', `somebody to end the ${what}`);
  return (await read())!['serves'] as Side;
}
