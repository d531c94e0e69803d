/**
 * Two servers, two databases, a migration file and a data directory for one proof. Guarantee: all of it is gone with `await using`,
 * and a proof that fails still says what the pipeline printed last.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { isFollowing, Pipeline, type PipelineOptions, type PipelineStatus } from '#services/demo/pipeline/pipeline.ts';
import { makeScratch } from '#services/demo/pipeline/scratch.ts';
import { execute, type TextRow } from '#test/support/application.ts';
import { type PostgresOptions, type PostgresServer, startPostgres } from '#test/support/postgres.ts';

export interface ProofStageOptions {
  readonly name: string;
  readonly source?: Partial<PostgresOptions>;
  readonly target?: Partial<PostgresOptions>;
  /** Source and target are tables of one database, which the file tells apart; `targetSql` is run there, too. */
  readonly oneDatabase?: boolean;
  /** Entries under `tables:`, and anything else of the file's top level after them. */
  readonly file: string;
  readonly sourceSql: string;
  readonly targetSql: string;
}

export interface ProofStage extends AsyncDisposable {
  readonly source: PostgresServer;
  readonly target: PostgresServer;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly directory: string;
  readonly pipeline: PipelineOptions;
  /** Writes the file again: settings may change between two starts. */
  writeFile(body: string, urls?: { readonly source: string; readonly target: string }): void;
}

export async function openProofStage(options: ProofStageOptions): Promise<ProofStage> {
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(makeScratch(`crossfade-prove-${options.name}-`));
  const source = stack.use(await startPostgres({ version: 18, ...options.source }));
  const { oneDatabase = false } = options;
  const target = oneDatabase ? source : stack.use(await startPostgres({ version: 18, ...options.target }));
  const sourceUrl = await source.createDatabase('origin');
  const targetUrl = oneDatabase ? sourceUrl : await target.createDatabase('destination');
  if (options.sourceSql !== '') await execute(sourceUrl, options.sourceSql);
  if (options.targetSql !== '') await execute(targetUrl, options.targetSql);
  const file = join(directory, 'migration.yaml');
  const writeFile: ProofStage['writeFile'] = (body, urls = { source: sourceUrl, target: targetUrl }) =>
    writeFileSync(
      file,
      `crossfade: 1\nname: ${options.name}\nsource: { postgres: "${urls.source}" }\ntarget: { postgres: "${urls.target}" }\n${body}\n`,
    );
  writeFile(options.file);
  const kept = stack.move();
  return {
    source,
    target,
    sourceUrl,
    targetUrl,
    directory,
    pipeline: { file, dataDir: join(directory, 'data'), logFile: join(directory, 'crossfade.log') },
    writeFile,
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

export const PATIENCE_MS = 120_000;

export async function untilFollowing(pipeline: Pipeline, timeoutMs: number = PATIENCE_MS): Promise<PipelineStatus> {
  return await pipeline.waitFor(isFollowing, { what: 'following', timeoutMs });
}

/** @throws Error with verify's own words when it is not clean. */
export async function requireVerified(stage: ProofStage): Promise<VerifyResult> {
  const outcome = await runCommand<VerifyResult>(['verify'], stage.pipeline);
  const result = outcome.envelope?.result;
  if (outcome.code !== 0 || result === undefined)
    throw new Error(`crossfade verify: ${explain(outcome)}\n${JSON.stringify(result, undefined, 2)}`);
  return result;
}

/** Runs to the point where everything committed so far is applied, and ends by itself. */
export async function runUntilCaughtUp(stage: ProofStage, timeoutMs: number = PATIENCE_MS): Promise<void> {
  await using pipeline = Pipeline.start({ ...stage.pipeline, args: [...(stage.pipeline.args ?? []), '--until', 'caught-up'] });
  const timer = setTimeout(() => void pipeline.kill(), timeoutMs);
  const end = await pipeline.ended();
  clearTimeout(timer);
  if (end.code !== 0) throw new Error(`crossfade up --until caught-up: ${end.signal ?? `exit code ${end.code}`}\n${pipeline.logTail()}`);
}

export interface ComparedTable {
  readonly source: string;
  readonly target: string;
  /** Select list when the columns differ; `x` is the row. */
  readonly row?: { readonly source: string; readonly target: string };
}

/** Count and checksum on both sides, by SQL of the test's own. @returns rows compared. */
export async function requireEqual(stage: ProofStage, tables: readonly ComparedTable[]): Promise<number> {
  let rows = 0;
  const differences: string[] = [];
  for (const table of tables) {
    const [source] = await digest(stage.sourceUrl, table.source, table.row?.source);
    const [target] = await digest(stage.targetUrl, table.target, table.row?.target);
    rows += Number(source?.['n']);
    if (JSON.stringify(source) !== JSON.stringify(target)) {
      differences.push(
        `${table.source}: ${source?.['n']} rows on the source, ${target?.['n']} on the target`,
        ...(await differingRows(stage, table)),
      );
    }
  }
  if (differences.length > 0) throw new Error(`source and target differ:\n${differences.join('\n')}`);
  return rows;
}

const SHOWN_ROWS_MAX = 20;

/** As multisets: a row that is there twice on one side only is shown too. */
async function differingRows(stage: ProofStage, table: ComparedTable): Promise<readonly string[]> {
  const left = new Map<string, number>();
  for (const row of await execute(stage.sourceUrl, `select (${table.row?.source ?? 'x'})::text as row from ${table.source} x`)) {
    left.set(row['row'] ?? '', (left.get(row['row'] ?? '') ?? 0) + 1);
  }
  for (const row of await execute(stage.targetUrl, `select (${table.row?.target ?? 'x'})::text as row from ${table.target} x`)) {
    left.set(row['row'] ?? '', (left.get(row['row'] ?? '') ?? 0) - 1);
  }
  const lines = [...left].flatMap(([row, count]) =>
    count === 0 ? [] : [`  ${count > 0 ? 'only on the source' : 'only on the target'}: ${row.slice(0, 200)}`],
  );
  return lines.slice(0, SHOWN_ROWS_MAX);
}

async function digest(url: string, table: string, row: string | undefined): Promise<TextRow[]> {
  return await execute(
    url,
    `select count(*)::text as n, coalesce(sum(hashtextextended((${row ?? 'x'})::text, 0)::numeric), 0)::text as sum from ${table} x`,
  );
}
