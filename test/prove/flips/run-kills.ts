/**
 * The process of a flip is killed at every failpoint, both ways, under writes; now and then the instance with it. Guarantee: returns only when somebody always brought it to
 * an end: the side that serves takes writes, the other one refuses them once there was a decision, and no acknowledged write is missing.
 */
import { runCommand } from '#services/demo/pipeline/command.ts';
import type { Failpoint } from '#schemas/test-hooks.ts';
import { execute } from '#test/support/application.ts';
import { seeded } from '#test/support/random.ts';
import { flipArgs, flipOrThrow, GATE_CLOSED, type KillStage, type Side, waitUntil } from './flip-stage.ts';

export interface FlipKillsOptions {
  readonly pool: readonly Failpoint[];
  /** So many of them, drawn; all of them when absent. */
  readonly points?: number;
  /** Only cut-overs, and only their process: what makes the small form one. */
  readonly isShort?: boolean;
  readonly seed: number;
  readonly say: (text: string) => void;
}

const DECIDED: readonly Failpoint[] = ['fence.committed', 'flip.decided', 'flip.opened', 'flip.announced', 'flip.told'];

export async function runFlipKills(
  killed: KillStage,
  { pool, points, isShort = false, seed, say }: FlipKillsOptions,
): Promise<Record<string, number>> {
  const random = seeded(seed);
  await flipOrThrow(killed, ['drill']); // so that the way back stands
  const chosen = pool.map((point) => ({ point, order: random.next() })).toSorted((a, b) => a.order - b.order);
  let [serves, kills, finished, instanceKills, isFlipped] = ['source' as Side, 0, 0, 0, false];
  for (const { point } of chosen.slice(0, points)) {
    for (const kind of isShort ? (['cutover'] as const) : (['cutover', 'rollback'] as const)) {
      if ((kind === 'cutover') === (serves === 'target')) {
        // The flip before was backed out: it is made now, so that the other one can be killed.
        serves = (await flipOrThrow(killed, flipArgs(kind === 'cutover' ? 'rollback' : 'cutover', killed.name))).serves;
        isFlipped = true;
      }
      const withInstance = !isShort && random.chance(0.3);
      await killAt(killed, point, flipArgs(kind, killed.name));
      if (withInstance) {
        instanceKills++;
        await killed.killInstance();
        await recoverByCommand(killed, random.chance(0.5));
        await killed.startInstance();
      }
      kills++;
      serves = await settled(killed, `${kind} killed at ${point}`);
      const isDecided = serves === (kind === 'cutover' ? 'target' : 'source');
      if (isDecided !== DECIDED.includes(point)) throw new Error(`${kind} killed at ${point}: the ${serves} serves`);
      if (isDecided) finished++;
      isFlipped ||= isDecided;
      const other = serves === 'source' ? 'target' : 'source';
      if (await killed.refuses(serves, serves)) throw new Error(`${kind} killed at ${point}: the ${serves} serves and refuses writes`);
      if (isFlipped && !(await killed.refuses(other, serves))) throw new Error(`${kind} killed at ${point}: both sides take writes`);
      say(`${kind} killed at ${point}${withInstance ? ', and the instance' : ''}: the ${serves} serves`);
    }
  }
  const writes = await killed.end(serves);
  return {
    kills,
    finished,
    'backed out': kills - finished,
    'instances killed with it': instanceKills,
    'acknowledged writes': writes,
    'acknowledged writes lost': 0,
  };
}

async function killAt(killed: KillStage, point: Failpoint, args: readonly string[]): Promise<void> {
  const env = { CROSSFADE_TEST_FAILPOINT: point };
  await waitUntil(
    async () => {
      const outcome = await runCommand(args, { ...killed.stage.pipeline, env });
      if (outcome.code !== null && !(killed.gatesWait && outcome.code === GATE_CLOSED))
        throw new Error(`crossfade ${args.join(' ')} came to an end before ${point}: ${outcome.stderr.slice(-2000)}`);
      return outcome.code === null;
    },
    `the gates of ${args.join(' ')}`,
  );
}

/** Without an instance the next command does it, whatever it was for. */
async function recoverByCommand({ stage }: KillStage, isKilledToo: boolean): Promise<void> {
  const args = ['cutover', '--dry-run'];
  if (isKilledToo) await runCommand(args, { ...stage.pipeline, env: { CROSSFADE_TEST_FAILPOINT: 'flip.settled' } });
  await runCommand(args, stage.pipeline);
}

async function settled({ stage, name }: KillStage, what: string): Promise<Side> {
  const read = async (): Promise<Record<string, string | null> | undefined> =>
    (await execute(stage.targetUrl, `SELECT serves, act::text AS act FROM crossfade.migration WHERE name = '${name}'`))[0];
  await waitUntil(async () => typeof (await read())?.['act'] !== 'string', `somebody to end the ${what}`);
  return (await read())!['serves'] as Side;
}
