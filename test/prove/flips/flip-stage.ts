/** The shop's rows on both sides of a running instance, an application that follows the writes, and what is asked of it all in the end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FULL_SHOP, loadSql, SMALL_SHOP } from '#services/demo/shop/load.ts';
import { type CommandOutcome, explain, runCommand } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { BUSY_LIMITS } from '#test/support/flip-stage.ts';
import { lostWrites, type RunningApplication, startApplication } from '#test/support/application-under-flips.ts';
import { APPLICATION_DDL, type JournalLine } from '#test/support/following-application.ts';
import { openProofStage, type ProofStage, untilFollowing } from '../proof-stage.ts';

const SHOP = join(import.meta.dirname, '..', '..', '..', 'services', 'demo', 'shop');
/** Source tables without a key do not go back by themselves; nobody writes them here. In full the limits are what an operator has. */
const fileOf = (isFull: boolean): string => `cutover: { accept: ["*.*"]${isFull ? '' : `, ${BUSY_LIMITS}`} }
tables:
  - from: public.*
`;

export type Side = 'source' | 'target';

/** What a process is killed in (run-kills.ts), and how it is judged. */
export interface KillStage extends AsyncDisposable {
  readonly name: string;
  readonly stage: ProofStage;
  /** The way back begins anew after each flip, and its gates wait for that. */
  readonly gatesWait: boolean;
  startInstance(): Promise<void>;
  killInstance(): Promise<void>;
  /** Whether this side refuses a write, now that `serves` does. */
  refuses(side: Side, serves: Side): Promise<boolean>;
  /** Waits for more writes, and ends the application. @returns acknowledged writes, each of which `serves` has. @throws Error */
  end(serves: Side): Promise<number>;
}

export interface FlipProofStage extends KillStage {
  readonly application: RunningApplication;
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
      file: fileOf(options.isFull),
      sourceSql: `${legacy}; ${APPLICATION_DDL}; ${loadSql(options.isFull ? FULL_SHOP : SMALL_SHOP, options.seed)}`,
      targetSql: `${legacy}; ${APPLICATION_DDL}`,
    }),
  );
  const urls = { source: stage.sourceUrl, target: stage.targetUrl };
  const instance = stack.use(await startRestartable(stage));
  const application = stack.use(startApplication(urls, join(stage.directory, 'journal'), options.rate));
  const kept = stack.move();
  return {
    name: options.name,
    stage,
    gatesWait: false,
    application,
    startInstance: async () => instance.startAgain(),
    killInstance: async () => instance.kill(),
    refuses: async (side) => refuses(urls[side], 'app_line'),
    end: async (serves) => {
      const seen = application.lines().length;
      await waitUntil(async () => application.lines().length > seen + options.rate / 2, 'writes to go on');
      return requireNothingLost(urls[serves], await application.stop());
    },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

export interface Restartable extends AsyncDisposable {
  startAgain(): Promise<void>;
  kill(): Promise<void>;
}

/** A running instance that is killed and begun again. */
export async function startRestartable({ pipeline }: ProofStage): Promise<Restartable> {
  let instance = Pipeline.start(pipeline);
  const restartable: Restartable = {
    startAgain: async () => {
      instance = Pipeline.start(pipeline);
      await instance.waitFor((status) => status.lag.known, { what: 'going on', timeoutMs: 60_000 });
    },
    kill: async () => instance.kill().then(() => undefined),
    [Symbol.asyncDispose]: async () => instance[Symbol.asyncDispose](),
  };
  await using stack = new AsyncDisposableStack();
  stack.use(restartable);
  await untilFollowing(instance);
  stack.move();
  return restartable;
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

/** Exit code of a flip whose gates are closed. */
export const GATE_CLOSED = 10;

export async function flipOrThrow(
  { stage, gatesWait }: Pick<KillStage, 'stage' | 'gatesWait'>,
  args: readonly string[],
): Promise<FlipResult> {
  let outcome: CommandOutcome<FlipResult> | undefined;
  await waitUntil(
    async () => {
      outcome = await runCommand<FlipResult>(args, stage.pipeline);
      return !gatesWait || outcome.code !== GATE_CLOSED;
    },
    `the gates of ${args.join(' ')}`,
  );
  return resultOf(outcome!, args);
}

function resultOf(outcome: CommandOutcome<FlipResult>, args: readonly string[]): FlipResult {
  const result = outcome.envelope?.result;
  if (outcome.code !== 0 || result === undefined)
    throw new Error(`crossfade ${args.join(' ')}: ${explain(outcome)}\n${outcome.stderr.slice(-3000)}`);
  return result;
}

/** Nothing that was acknowledged is missing in the store that serves, and nothing failed but by the fence. */
async function requireNothingLost(serving: string, lines: readonly JournalLine[]): Promise<number> {
  const failed = lines.filter(({ kind }) => kind !== 'write');
  if (failed.length > 0) throw new Error(`${failed.length} reads or writes failed: ${JSON.stringify(failed.slice(0, 5))}`);
  const lost = await lostWrites(serving, lines);
  if (lost.length > 0)
    throw new Error(
      `${lost.length} of ${lines.length} acknowledged writes are not in the store that serves: ${lost.slice(0, 10).join(', ')}`,
    );
  return lines.length;
}

export async function refuses(url: string, table: string): Promise<boolean> {
  try {
    await execute(url, `DELETE FROM ${table} WHERE false`);
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
