/**
 * The second half of the story: reads move, writes move, go back, and move for good, while the shop's new release is at work. Guarantee: ends well only
 * if every write that was acknowledged is in the store that serves, with its value; anything else throws.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createCrossfadeClient, type CrossfadeClient, type FlagDocument, type Side } from '#services/client/client.ts';
import type { DemoOptions } from './options.ts';
import { type CommandOutcome, explain, runCommand } from './pipeline/command.ts';
import type { Pipeline } from './pipeline/pipeline.ts';
import type { DemoStage } from './stage.ts';
import { number, type Story, tell } from './story.ts';
import { type Kept, Till } from './till/till.ts';
import { verifyShops } from './verify-shops.ts';

/** One change of who serves, or a rehearsal of it. */
export interface FlipFigures {
  readonly act: 'drill' | 'cutover' | 'rollback';
  /** As the command measured it: from the fence's first lock until writes were let go. */
  readonly blockMs: number;
  /** As the application felt it: its slowest write meanwhile. */
  readonly longestWriteMs: number;
  readonly writesMeanwhile: number;
  readonly seconds: number;
}

export interface FlipsSummary extends Kept {
  readonly flips: readonly FlipFigures[];
  /** Of the reads, at the flag's 10 % and 100 %. */
  readonly readsOnTarget: readonly number[];
  readonly writesAcknowledged: number;
  readonly writes: Readonly<Record<Side, number>>;
  readonly signedBy: readonly string[];
}

const NAME = 'shop';
const PEOPLE = ['Ada Lovelace', 'Grace Hopper'] as const;
const READS_LOOKED_AT = 200;
/** Exit code. */
const GATES_CLOSED = 10;
const BACK_MS = 30_000;
/** For lag that was too large for a moment. */
const GATES_MS = 60_000;
const LOOK_EVERY_MS = 100;

/** `cutover|rollback|drill --json` → result. */
interface Flipped {
  readonly serves: Side;
  readonly blockMs: number;
}

interface Scene {
  readonly stage: DemoStage;
  readonly story: Story;
  readonly till: Till;
  readonly client: CrossfadeClient;
  /** Writes that the till makes before the story goes on. */
  readonly writesBetween: number;
}

interface Play {
  readonly options: DemoOptions;
  readonly story: Story;
}

export async function flipShop(stage: DemoStage, pipeline: Pipeline, { options, story }: Play): Promise<FlipsSummary> {
  const { address } = pipeline;
  if (address === undefined) throw new Error('crossfade up does not say where it answers');
  const client = createCrossfadeClient({ name: NAME, ...address });
  const till = Till.start({
    sourceUrl: stage.sourceUrl,
    targetUrl: stage.targetUrl,
    client,
    seed: options.seed,
    size: options.size,
    writers: options.writers,
    writesPerSecond: options.transactionsPerSecond,
  });
  try {
    return await play({ stage, story, till, client, writesBetween: options.transactionsPerSecond });
  } finally {
    await till.stop().catch(() => undefined); // its error was thrown where it mattered
    await client.close();
  }
}

async function play(scene: Scene): Promise<FlipsSummary> {
  const { story, till } = scene;
  story.tell('The shop opens again, with a release that knows both stores and asks crossfade/client where to read and to write');
  await till.seen(({ writes }) => writes.source > 0, 'its first write');
  const readsOnTarget = [await moveReads(scene, 10), await moveReads(scene, 100)];
  const flips = [await flip(scene, 'drill')];
  const [approver] = PEOPLE;
  await command(scene, ['approve', 'cutover', '--as', approver]);
  flips.push(await flip(scene, 'cutover'), await flip(scene, 'rollback'), await flip(scene, 'cutover'));
  const kept = await lookUp(scene);
  await verifyShops(scene.stage, story);
  const signedBy = await signOff(scene);
  const { writes } = till;
  return { flips, readsOnTarget, writes, writesAcknowledged: writes.source + writes.target, ...kept, signedBy };
}

/** @returns part of the reads that the target answered from then on. */
async function moveReads(scene: Scene, percent: number): Promise<number> {
  const { story, till, client } = scene;
  return tell(story, `crossfade flags set --reads ${percent}%`, async () => {
    const { rules } = await command<FlagDocument>(scene, ['flags', 'set', '--reads', `${percent}%`]);
    till.take();
    await till.seen(({ reads }) => total(reads) > 0 && (client.document?.rules?.version ?? 0) >= (rules?.version ?? 0), 'the flag');
    // The one under way was asked of whom it used to be.
    till.take();
    await till.seen(({ reads }) => total(reads) > 0, 'a read');
    till.take();
    await till.seen(({ reads }) => total(reads) >= READS_LOOKED_AT, 'reads');
    const { reads } = till.take();
    return [
      reads.target / total(reads),
      `crossfade flags set --reads ${percent}%: the new shop answered ${reads.target} of the next ${total(reads)} reads`,
    ];
  });
}

const SAID = {
  drill: 'everything but the decision was done, and taken back',
  cutover: 'the new shop takes the writes, and the old one gets them',
  rollback: 'the old shop takes the writes again, with all that were made on the new one',
} as const;

async function flip(scene: Scene, act: FlipFigures['act']): Promise<FlipFigures> {
  const { story, till } = scene;
  return tell(story, `crossfade ${act}`, async (step) => {
    till.take();
    const began = performance.now();
    const { blockMs, serves } = await throughGates(scene, act === 'cutover' ? [act, '--confirm', NAME] : [act]);
    const seconds = (performance.now() - began) / 1000;
    const { writes: meanwhile, longestMs } = till.take();
    step.update(`crossfade ${act}: writes go on`);
    await till.seen(({ writes }) => writes[serves] >= scene.writesBetween, `writes on the ${serves}`);
    const figures = { act, blockMs, longestWriteMs: Math.round(longestMs), writesMeanwhile: total(meanwhile), seconds };
    return [
      figures,
      `crossfade ${act}: ${SAID[act]}; ${number(figures.writesMeanwhile)} writes meanwhile, blocked for ${blockMs} ms, the slowest took ${figures.longestWriteMs} ms`,
    ];
  });
}

/** Asked again while a gate is closed, as somebody at a busy machine would. @throws Error when none opens in time */
async function throughGates(scene: Scene, args: readonly string[]): Promise<Flipped> {
  for (const deadline = performance.now() + GATES_MS; performance.now() < deadline; await delay(LOOK_EVERY_MS)) {
    const outcome = await runCommand<Flipped>(args, scene.stage.pipeline);
    if (outcome.code !== GATES_CLOSED) return resultOf(args, outcome);
  }
  return command<Flipped>(scene, args);
}

async function signOff(scene: Scene): Promise<readonly string[]> {
  return tell(scene.story, 'crossfade signoff', async () => {
    const [first, second] = PEOPLE;
    const args = (person: string): string[] => ['signoff', '--as', person, '--confirm', NAME];
    const alone = await runCommand(args(first), scene.stage.pipeline);
    if (alone.code !== GATES_CLOSED) throw new Error(`one of two people could sign off alone: ${explain(alone)}`);
    await command(scene, args(second));
    return [PEOPLE, `crossfade signoff: ${PEOPLE.join(' and ')} have signed; the new shop stays`];
  });
}

async function lookUp({ story, till }: Scene): Promise<Kept> {
  return tell(story, 'The shop closes; every promise is looked up', async () => {
    await till.stop();
    const kept = await till.kept('target');
    if (kept.lost + kept.unpromised > 0)
      throw new Error(`of the acknowledged writes ${kept.lost} are lost; ${kept.unpromised} rows are there that nobody was promised`);
    await untilBack(till);
    return [
      kept,
      `The shop closed after ${number(total(till.writes))} acknowledged writes; each was looked up in the new shop: ${kept.lost} lost. The old one has them, too`,
    ];
  });
}

/** What the new shop took has come to the old one as well. */
async function untilBack(till: Till): Promise<void> {
  for (const deadline = performance.now() + BACK_MS; (await till.kept('source')).lost > 0;) {
    if (performance.now() > deadline)
      throw new Error(`what was written to the new shop did not come back to the old one within ${BACK_MS / 1000} s`);
    await delay(LOOK_EVERY_MS);
  }
}

async function command<T>({ stage }: Scene, args: readonly string[]): Promise<T> {
  return resultOf(args, await runCommand<T>(args, stage.pipeline));
}

function resultOf<T>(args: readonly string[], outcome: CommandOutcome<T>): T {
  const result = outcome.envelope?.result;
  if (outcome.code !== 0 || result === undefined)
    throw new Error(`crossfade ${args.join(' ')}: ${explain(outcome)}
${outcome.stderr}`);
  return result;
}

function total({ source, target }: Readonly<Record<Side, number>>): number {
  return source + target;
}
