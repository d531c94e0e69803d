/** docs/examples/pagila on Pagila itself, where it is there, else on the tables of test/support/pagila.ts. */
import { cpSync, appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Pipeline, type PipelineStatus } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { PAGILA_EXAMPLE_DIRECTORY, PAGILA_EXAMPLE_SQL, pagilaExampleEnvironment } from '#test/support/pagila-example.ts';
import { PAGILA_SAME, PAGILA_SQL, PAGILA_WRITES, pagilaRowsSql } from '#test/support/pagila.ts';
import { seeded, type Random } from '#test/support/random.ts';
import { openProofStage, PATIENCE_MS, type ProofStage, requireVerified, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';
import { hasSample, loadSample, PAGILA, startWriter, type Writer } from '../sample-databases.ts';

const WRITERS = 2;
/** So slow that the copy is there to be killed, and in small that its few rows take seconds: a loaded machine looks late. */
const FULL = { films: 1_000, rowsPerSecond: 2_000, copyKills: 5, streamKills: 8, followMs: 4_000 };
const SMALL = { films: 150, rowsPerSecond: 700, copyKills: 1, streamKills: 1, followMs: 500 };
const CHUNK_ROWS = 200;
/** Kills in the stream strike after so much of it. */
const STRIKE_MS = { from: 200, to: 1_500 };

export const pagilaRedesignedProof: Proof = {
  name: 'pagila-redesigned',
  claim:
    "Pagila moves into another schema by the docs' example file, while writers change it and `up` is killed in copy and stream; verify is clean, and the questions of an application have the same answers",
  expectedSeconds: 120,
  run: prove,
};

async function prove({ size, seed, say }: ProofContext): Promise<Figures> {
  const sizes = size === 'full' ? FULL : SMALL;
  const isPagila = size === 'full' && hasSample(PAGILA);
  await using opened = await openProofStage({ name: 'store_1', file: '', sourceSql: '', targetSql: PAGILA_EXAMPLE_SQL.target });
  const stage = await withExample(opened, sizes.rowsPerSecond);
  if (isPagila) await loadSample(stage.sourceUrl, PAGILA);
  else await execute(stage.sourceUrl, PAGILA_SQL, `SELECT setseed(0.5); ${pagilaRowsSql(sizes.films)}`);
  await execute(stage.sourceUrl, PAGILA_EXAMPLE_SQL.source, 'ANALYZE');
  const random = seeded(seed);
  await using writers = new AsyncDisposableStack();
  const running: Writer[] = [];
  for (let i = 0; i < WRITERS; i++) running.push(writers.use(await startWriter(stage.sourceUrl, { writes: PAGILA_WRITES }, random)));
  const copied = await killInCopy(stage, sizes.copyKills);
  say(`killed ${copied.length} times in the copy, at ${copied.join(', ')} rows`);
  await killInStream(stage, sizes.streamKills, random);
  let live;
  {
    await using pipeline = Pipeline.start(stage.pipeline);
    await untilFollowing(pipeline);
    await delay(sizes.followMs);
    live = await requireVerified(stage);
    say(`verified while writers wrote, at ${live.at.lsn}: ${live.differences} differences`);
    await pipeline.stop();
  }
  const written = (await Promise.all(running.map(async (writer) => writer.stop()))).reduce((sum, count) => sum + count, 0);
  await runUntilCaughtUp(stage);
  const verified = await requireVerified(stage);
  const answers = await compareAnswers(stage);
  return {
    source: isPagila ? 'Pagila' : 'tables like it',
    kills: `${copied.length} in the copy, ${sizes.streamKills} in the stream`,
    'transactions meanwhile': written,
    'rows compared by verify': verified.tables.reduce((sum, table) => sum + table.rowsSource, 0),
    differences: live.differences + verified.differences,
    'answers compared': answers,
    ...(await keptRows(stage)),
  };
}

/** The docs' folder, with a copy that can be caught. */
async function withExample(stage: ProofStage, rowsPerSecond: number): Promise<ProofStage> {
  const directory = join(stage.directory, 'example');
  cpSync(PAGILA_EXAMPLE_DIRECTORY, directory, { recursive: true });
  const file = join(directory, 'migration.yaml');
  appendFileSync(file, `copy: { maxRowsPerSecond: ${rowsPerSecond}, chunkRows: ${CHUNK_ROWS} }\nheartbeatSeconds: 1\n`);
  return { ...stage, pipeline: { ...stage.pipeline, file, env: pagilaExampleEnvironment(stage.sourceUrl, stage.targetUrl) } };
}

/** @returns rows copied at each kill. */
async function killInCopy(stage: ProofStage, kills: number): Promise<readonly number[]> {
  const at: number[] = [];
  const rowsOf = ({ tables }: PipelineStatus): number => tables.reduce((sum, table) => sum + table.rowsCopied, 0);
  while (at.length < kills) {
    await using pipeline = Pipeline.start(stage.pipeline);
    const more = (status: PipelineStatus): boolean => status.phase === 'following' || rowsOf(status) > (at.at(-1) ?? 0) + CHUNK_ROWS;
    const status = await pipeline.waitFor(more, { what: 'copying', timeoutMs: PATIENCE_MS });
    await pipeline.kill();
    if (status.phase === 'following') throw new Error(`the copy was over before it could be killed ${kills} times`);
    at.push(rowsOf(status));
  }
  return at;
}

async function killInStream(stage: ProofStage, kills: number, random: Random): Promise<void> {
  for (let i = 0; i < kills; i++) {
    await using pipeline = Pipeline.start(stage.pipeline);
    await untilFollowing(pipeline);
    await delay(random.between(STRIKE_MS.from, STRIKE_MS.to));
    await pipeline.kill();
  }
}

/** What somebody would ask of either schema. @returns rows of the answers. */
async function compareAnswers(stage: ProofStage): Promise<number> {
  let rows = 0;
  for (const [source, target] of PAGILA_SAME) {
    const [there, here] = [await execute(stage.sourceUrl, source), await execute(stage.targetUrl, target)];
    const differing = there.findIndex((row, i) => JSON.stringify(row) !== JSON.stringify(here[i]));
    if (differing >= 0 || there.length !== here.length)
      throw new Error(
        `${there.length} rows on the source, ${here.length} on the target; the first that differs: ${JSON.stringify(there[differing])}, ${JSON.stringify(here[differing])}\n${target}`,
      );
    rows += there.length;
  }
  return rows;
}

/** That nothing is marked would be no proof of soft deletes. */
async function keptRows(stage: ProofStage): Promise<Figures> {
  const [kept] = await execute(
    stage.targetUrl,
    `SELECT (SELECT count(*) FROM store.customer WHERE deleted_at IS NOT NULL) AS customers, (SELECT count(*) FROM store.copy WHERE state = 'gone') AS copies`,
  );
  if (kept?.['customers'] === '0' || kept?.['copies'] === '0') throw new Error('no deleted row was kept: the writers deleted none');
  return { 'deleted customers kept': Number(kept?.['customers']), 'copies gone and kept': Number(kept?.['copies']) };
}
