/**
 * The story of one migration, told while it happens. Guarantee: it ends well only if `verify` found the two shops equal after two
 * SIGKILLs, and again after two cut-overs and a rollback that lost no write; anything else throws.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Application } from './application/application.ts';
import { type LagFigures, LagProbe } from './lag-probe.ts';
import { corruptRows, findAndRepair } from './corrupt.ts';
import { flipShop, type FlipsSummary } from './flips.ts';
import type { DemoOptions } from './options.ts';
import { explain, runCommand } from './pipeline/command.ts';
import { isFollowing, Pipeline, type PipelineStatus } from './pipeline/pipeline.ts';
import { type DemoStage, execute, loadShop, openStage } from './stage.ts';
import { number, type Step, type Story, tell } from './story.ts';
import { verifyShops } from './verify-shops.ts';

export interface DemoSummary extends FlipsSummary {
  readonly seed: number;
  readonly rowsLoaded: number;
  readonly rowsCompared: number;
  readonly tables: number;
  readonly transactions: number;
  readonly transactionsPerSecond: number;
  readonly changesApplied: number;
  readonly copySeconds: number;
  readonly lag: LagFigures;
  readonly kills: readonly string[];
  readonly restarts: number;
  /** Rows changed behind the pipeline's back: named, repaired and verified. */
  readonly corrupted: number;
  readonly differences: number;
  readonly inconclusive: number;
  readonly money: string;
  readonly seconds: number;
}

const COPY_PATIENCE_MS = 120_000;
/** Part of the rows copied when the first kill strikes. */
const FIRST_KILL_AT = 0.35;

export async function runDemo(options: DemoOptions, story: Story): Promise<DemoSummary> {
  const began = Date.now();
  await using stage = await tell(story, 'Starting PostgreSQL 14 (the legacy shop) and 18 (the new one)', async () => {
    const opened = await openStage(options);
    return [opened, `PostgreSQL 14 holds the legacy shop, PostgreSQL 18 will hold the new one`];
  });
  const rowsLoaded = await tell(story, 'Filling the legacy shop', async () => {
    const rows = await loadShop(stage, options);
    return [rows, `${number(rows)} rows in 14 tables: time zones, money, TOAST, partitions, no key, odd names (seed ${options.seed})`];
  });
  await tell(story, 'crossfade check', async () => {
    const outcome = await runCommand(['check'], stage.pipeline);
    if (outcome.code !== 0) throw new Error(`crossfade check: ${explain(outcome)}`);
    return [undefined, `crossfade check: ready${findingsText(outcome.envelope?.findings?.length ?? 0)}`];
  });
  story.tell(
    'On the way accounts become one table, documents two, tags rows, customers and bonus points one row; cancelled orders stay behind, removed ones stay marked',
  );
  const application = Application.start({
    url: stage.sourceUrl,
    seed: options.seed,
    size: options.size,
    writers: options.writers,
    transactionsPerSecond: options.transactionsPerSecond,
  });
  try {
    return await migrate(stage, application, { options, story, began, rowsLoaded });
  } finally {
    await application.stop().catch(() => undefined); // its error was thrown where it mattered
  }
}

interface Scene {
  readonly options: DemoOptions;
  readonly story: Story;
  readonly began: number;
  readonly rowsLoaded: number;
}

async function migrate(stage: DemoStage, application: Application, scene: Scene): Promise<DemoSummary> {
  const { options, story } = scene;
  story.tell(`The shop is open: ${options.writers} connections write about ${options.transactionsPerSecond} transactions a second`);
  const copyBegan = Date.now();
  const firstKill = await killDuringCopy(stage, story);
  const copied = await finishCopy(stage, story, copyBegan);
  const probe = await LagProbe.start(stage.sourceUrl, stage.targetUrl);
  const secondKill = await killWhileStreaming(copied, { options, story });
  await using last = Pipeline.start(stage.pipeline);
  await tell(story, 'Starting it again', async (step) => {
    await last.waitFor(isFollowing, { what: 'following', timeoutMs: COPY_PATIENCE_MS });
    step.update('Following');
    await delay(options.followSeconds * 1000);
    return [undefined, 'Started again: it follows from where the target stands'];
  });
  const corrupted = await tell(story, 'Somebody changes three rows of the new shop', async (step) => {
    await corruptRows(stage);
    const found = await findAndRepair(stage, last, (text) => step.update(text));
    const { named, foundSeconds, repairedSeconds } = found;
    const lines = named.map((one) => `  ${one}`).join('\n');
    return [
      found,
      `Three rows of the new shop were changed behind its back; the running instance named them within ${foundSeconds.toFixed(1)} s:\n${lines}\ncrossfade repair: copied again and verified in ${repairedSeconds.toFixed(1)} s, while the shop was open`,
    ];
  });
  const transactionsPerSecond = application.transactions / application.seconds;
  const lag = await tell(story, 'The shop closes; the last changes arrive', async () => {
    await application.stop();
    const figures = await probe.stop();
    return [figures, `The shop closed after ${number(application.transactions)} transactions; the last change has arrived`];
  });
  const changesApplied = sum((await last.status())?.tables.map((table) => table.changesApplied) ?? []);
  const verified = await verifyShops(stage, story);
  const money = await compareMoney(stage);
  const flips = await flipShop(stage, last, scene);
  const end = await last.stop();
  if (end.code !== 0) throw new Error(`crossfade up did not stop cleanly: ${end.signal ?? `exit code ${end.code}`}`);
  return {
    seed: options.seed,
    rowsLoaded: scene.rowsLoaded,
    rowsCompared: sum(verified.tables.map((table) => table.rowsSource)),
    tables: verified.tables.length,
    transactions: application.transactions,
    transactionsPerSecond,
    changesApplied,
    copySeconds: copied.seconds,
    lag,
    kills: [firstKill, secondKill],
    restarts: 2,
    corrupted: corrupted.named.length,
    differences: verified.differences,
    inconclusive: verified.inconclusive,
    money,
    ...flips,
    seconds: (Date.now() - scene.began) / 1000,
  };
}

async function killDuringCopy(stage: DemoStage, story: Story): Promise<string> {
  return await tell(story, 'crossfade up: copying', async (step) => {
    await using pipeline = Pipeline.start(stage.pipeline);
    const status = await pipeline.waitFor((now) => showCopy(step, now) >= FIRST_KILL_AT, { what: 'copying', timeoutMs: COPY_PATIENCE_MS });
    await pipeline.kill();
    const { copied, estimated, part } = copyProgress(status);
    if (part >= 1) throw new Error('the copy was over before it could be killed');
    const text = `at ${percent(part)} of the copy (${number(copied)} of about ${number(estimated)} rows)`;
    return [text, `SIGKILL ${text}`];
  });
}

interface Copied {
  readonly pipeline: Pipeline;
  readonly seconds: number;
}

async function finishCopy(stage: DemoStage, story: Story, began: number): Promise<Copied> {
  return await tell(story, 'Starting it again: the copy goes on', async (step) => {
    const pipeline = Pipeline.start(stage.pipeline);
    const following = (status: PipelineStatus): boolean => showCopy(step, status) >= 0 && isFollowing(status);
    const status = await pipeline.waitFor(following, { what: 'following', timeoutMs: COPY_PATIENCE_MS });
    const seconds = (Date.now() - began) / 1000;
    return [
      { pipeline, seconds },
      `The copy went on where it was and is complete: ${number(copyProgress(status).copied)} rows, ${seconds.toFixed(1)} s with the kill`,
    ];
  });
}

async function killWhileStreaming({ pipeline }: Copied, { options, story }: Pick<Scene, 'options' | 'story'>): Promise<string> {
  await using running = pipeline;
  return await tell(story, 'Following the changes', async (step) => {
    step.update('Following the changes; readers of the new shop see a true state of the old one');
    await delay(options.followSeconds * 1000);
    const status = await running.status();
    await running.kill();
    const text = `while streaming, at ${status?.applied.lsn ?? 'an unknown position'}`;
    return [text, `SIGKILL ${text}`];
  });
}

/** The shop's own invariant, asked of both sides by plain SQL. */
async function compareMoney(stage: DemoStage): Promise<string> {
  const [source] = await execute(
    stage.sourceUrl,
    'select ((select sum(balance) from tbl_giro) + (select sum(balance) from tbl_savings))::text as sum',
  );
  const [target] = await execute(stage.targetUrl, 'select sum(balance)::text as sum from app.accounts');
  if (typeof source?.['sum'] !== 'string' || source['sum'] !== target?.['sum'])
    throw new Error(`the accounts add up to ${source?.['sum']} on the source, ${target?.['sum']} on the target`);
  return source['sum'];
}

function showCopy(step: Step, status: PipelineStatus): number {
  const { copied, estimated, part } = copyProgress(status);
  step.update(`Copying: ${number(copied)} of about ${number(estimated)} rows (${percent(part)})`);
  return part;
}

function copyProgress(status: PipelineStatus): { readonly copied: number; readonly estimated: number; readonly part: number } {
  const copied = sum(status.tables.map((table) => table.rowsCopied));
  const estimated = Math.max(copied, sum(status.tables.map((table) => table.rowsEstimated)));
  return { copied, estimated, part: isFollowing(status) ? 1 : copied / Math.max(1, estimated) };
}

function findingsText(count: number): string {
  return count === 0 ? '' : `, with ${count} ${count === 1 ? 'note' : 'notes'}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function percent(part: number): string {
  return `${Math.min(100, Math.round(part * 100))} %`;
}
