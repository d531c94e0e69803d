/**
 * A mapping that changes the shape of tables, run by `crossfade up` under a writer and through SIGKILLs. Guarantee: the first run is killed
 * during the copy, the second while it follows, the third is verified while the writer goes on; then every comparison holds.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase, type PostgresVersion } from '#test/support/postgres.ts';

export interface Shape {
  readonly name: string;
  /** Of both servers; 18 when absent. */
  readonly version?: PostgresVersion;
  /** The file's `tables:` block. */
  readonly tables: string;
  readonly source: string;
  /** 18 when absent. */
  readonly sourceVersion?: PostgresVersion;
  readonly fill: string;
  readonly target: string;
  /** Statements of round n, each a transaction. */
  readonly changes: (round: number) => readonly string[];
  /** A query of the source and the one of the target that gives the same. */
  readonly same: readonly (readonly [source: string, target: string])[];
}

/** One whose file is there. */
export interface FiledShape extends Omit<Shape, 'tables'> {
  readonly file: string;
  /** What it takes from the environment. */
  readonly env: (sourceUrl: string, targetUrl: string) => Readonly<Record<string, string>>;
}

export interface ShapeRun {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly verify: () => Promise<{ readonly code: number | null; readonly result: VerifyResult; readonly text: string }>;
  readonly command: (...words: string[]) => Promise<number | null>;
}

const KILLS = [{ CROSSFADE_TEST_FAILPOINT: 'sink.applied:3' }, { CROSSFADE_TEST_FAILPOINT: 'sink.commit:40' }] as const;

export async function runShape(shape: Shape | FiledShape, after: (run: ShapeRun) => Promise<void> = async () => undefined): Promise<void> {
  await using from = await freshDatabase(shape.sourceVersion ?? shape.version);
  await using to = await freshDatabase(shape.version);
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-shape-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const dataDir = join(directory, 'data');
  const { file, env } = await fileOf(shape, { directory, sourceUrl: from.url, targetUrl: to.url });
  await execute(from.url, shape.source, shape.fill);
  await execute(to.url, shape.target);
  const start = (failpoint: Record<string, string>): Pipeline =>
    stack.use(Pipeline.start({ file, dataDir, logFile: join(directory, 'up.log'), env: { ...env, ...failpoint } }));
  let round = 0;
  const write = (): Promise<unknown> => execute(from.url, ...shape.changes(round++));
  for (const failpoint of KILLS) {
    const pipeline = start(failpoint);
    const ended = pipeline.ended();
    while (pipeline.result === undefined) await write();
    expect(await ended, pipeline.logTail(20)).toMatchObject({ signal: 'SIGKILL' });
  }
  const last = start({});
  await last.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  for (let i = 0; i < 10; i++) await write();
  const verify = async (): ReturnType<ShapeRun['verify']> => {
    const answer = await runCommand<VerifyResult>(['verify'], { file, dataDir, env });
    return { code: answer.code, result: answer.envelope!.result!, text: explain(answer) };
  };
  const verifying = verify();
  for (let i = 0; i < 10; i++) await write();
  const expectClean = async (what: string, { code, result, text }: Awaited<ReturnType<ShapeRun['verify']>>): Promise<void> => {
    if (code === 0) return;
    const facts = await account({ sourceUrl: from.url, targetUrl: to.url }, result);
    expect.fail([`${what}, after ${round} rounds: ${text}`, facts, last.logTail(40)].join('\n'));
  };
  await expectClean('beside the writer', await verifying);
  await expectClean('caught up', await verify());
  for (const [source, target] of shape.same) expect(await execute(to.url, target)).toEqual(await execute(from.url, source));
  const command = async (...words: string[]): Promise<number | null> => (await runCommand(words, { file, dataDir, env })).code;
  await after({ sourceUrl: from.url, targetUrl: to.url, verify, command });
  expect(await last.stop()).toEqual({ code: 0, signal: null });
}

/** What tells a fault of the pipeline from one of the comparison, of a run that does not come again: all counts and samples, and where both sides stand. */
async function account({ sourceUrl, targetUrl }: Pick<ShapeRun, 'sourceUrl' | 'targetUrl'>, { at, tables }: VerifyResult): Promise<string> {
  const SAMPLES = 12;
  const rows = tables.map(({ sample = [], ...table }) => [table, sample.slice(0, SAMPLES), sample.slice(-SAMPLES)]);
  const answers = [
    await execute(targetUrl, 'SELECT * FROM crossfade.progress'),
    await execute(targetUrl, 'SELECT * FROM crossfade.table_progress ORDER BY source_table, target_table'),
    await execute(
      sourceUrl,
      'SELECT pg_current_wal_insert_lsn(), pg_current_snapshot(), confirmed_flush_lsn, active FROM pg_replication_slots',
    ),
  ];
  return [{ at }, ...rows, ...answers].map((one) => JSON.stringify(one)).join('\n');
}

interface ShapePlace {
  readonly directory: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
}

async function fileOf(
  shape: Shape | FiledShape,
  { directory, sourceUrl, targetUrl }: ShapePlace,
): Promise<{ readonly file: string; readonly env: Readonly<Record<string, string>> }> {
  if ('file' in shape) return { file: shape.file, env: shape.env(sourceUrl, targetUrl) };
  const file = join(directory, 'm.yaml');
  const head = `crossfade: 1\nname: ${shape.name}\nsource: { postgres: "${sourceUrl}" }\ntarget: { postgres: "${targetUrl}" }\nheartbeatSeconds: 1\n`;
  await writeFile(file, head + shape.tables);
  return { file, env: {} };
}
