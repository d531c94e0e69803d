/** The shop's rows on both sides of a running instance, an application that follows the writes, and what is asked of it all in the end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FULL_SHOP, loadSql, SMALL_SHOP } from '#services/demo/shop/load.ts';
import { type CommandOutcome, explain, runCommand } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { lostWrites, type RunningApplication, startApplication } from '#test/support/application-under-flips.ts';
import { APPLICATION_DDL, type JournalLine } from '#test/support/following-application.ts';
import { openProofStage, type ProofStage, untilFollowing } from '../proof-stage.ts';

const SHOP = join(import.meta.dirname, '..', '..', '..', 'services', 'demo', 'shop');
/** Source tables without a key do not go back by themselves; nobody writes them here. */
const FILE = `cutover: { accept: ["*.*"] }
tables:
  - from: public.*
`;

export type Side = 'source' | 'target';

export interface FlipProofStage extends AsyncDisposable {
  readonly stage: ProofStage;
  readonly application: RunningApplication;
  readonly urls: Readonly<Record<Side, string>>;
  startInstance(): Promise<void>;
  killInstance(): Promise<void>;
}

export async function openFlipStage(options: {
  readonly name: string;
  readonly isFull: boolean;
  readonly seed: number;
  readonly rate: number;
}): Promise<FlipProofStage> {
  await using stack = new AsyncDisposableStack();
  const legacy = readFileSync(join(SHOP, 'legacy.sql'), 'utf8');
  const stage = stack.use(
    await openProofStage({
      name: options.name,
      file: FILE,
      sourceSql: `${legacy}; ${APPLICATION_DDL}; ${loadSql(options.isFull ? FULL_SHOP : SMALL_SHOP, options.seed)}`,
      targetSql: `${legacy}; ${APPLICATION_DDL}`,
    }),
  );
  const urls = { source: stage.sourceUrl, target: stage.targetUrl };
  let instance = Pipeline.start(stage.pipeline);
  stack.defer(async () => instance[Symbol.asyncDispose]());
  await untilFollowing(instance);
  const application = stack.use(startApplication(urls, join(stage.directory, 'journal'), options.rate));
  const kept = stack.move();
  return {
    stage,
    application,
    urls,
    startInstance: async () => {
      instance = Pipeline.start(stage.pipeline);
      await instance.waitFor((status) => status.lag.known, { what: 'going on', timeoutMs: 60_000 });
    },
    killInstance: async () => instance.kill().then(() => undefined),
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

export interface FlipResult {
  readonly outcome: string;
  readonly serves: Side;
  readonly blockMs: number;
}

/** @returns the arguments of the flip that comes next. */
export function flipArgs(kind: 'cutover' | 'rollback', name: string): readonly string[] {
  return kind === 'cutover' ? ['cutover', '--confirm', name] : ['rollback'];
}

export async function flipOrThrow(stage: ProofStage, args: readonly string[]): Promise<FlipResult> {
  const outcome: CommandOutcome<FlipResult> = await runCommand<FlipResult>(args, stage.pipeline);
  const result = outcome.envelope?.result;
  if (outcome.code !== 0 || result === undefined)
    throw new Error(`crossfade ${args.join(' ')}: ${explain(outcome)}\n${outcome.stderr.slice(-3000)}`);
  return result;
}

/** Nothing that was acknowledged is missing on the side that serves, and nothing failed but by the fence. */
export async function requireNothingLost(
  { urls }: Pick<FlipProofStage, 'urls'>,
  serves: Side,
  lines: readonly JournalLine[],
): Promise<number> {
  const failed = lines.filter(({ kind }) => kind !== 'write');
  if (failed.length > 0) throw new Error(`${failed.length} reads or writes failed: ${JSON.stringify(failed.slice(0, 5))}`);
  const lost = await lostWrites(urls[serves], lines);
  if (lost.length > 0)
    throw new Error(`${lost.length} of ${lines.length} acknowledged writes are not on the ${serves}: ${lost.slice(0, 10).join(', ')}`);
  return lines.length;
}

export async function refuses(url: string): Promise<boolean> {
  try {
    await execute(url, 'DELETE FROM app_line WHERE false');
    return false;
  } catch (error) {
    if ((error as { code?: string }).code === '25006') return true;
    throw error;
  }
}

export async function waitUntil(condition: () => Promise<boolean>, what: string, timeoutMs = 60_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(100);
  }
}
