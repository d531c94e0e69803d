/** Chinook and Pagila moved with the smallest file of design §12, while writers change them. */
import { setTimeout as delay } from 'node:timers/promises';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { seeded } from '#test/support/random.ts';
import { openProofStage, requireEqual, requireVerified, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';
import { CHINOOK, loadSample, loadSampleEmpty, PAGILA, type SampleDatabase, startWriter, tablesOf } from '../sample-databases.ts';

const WRITERS = 2;

function sampleProof(sample: SampleDatabase, sourceVersion: 14 | 18, renamed: boolean): Proof {
  return {
    name: renamed ? `${sample.name}-renamed` : sample.name,
    claim: `${sample.name === 'chinook' ? 'Chinook' : 'Pagila'} moves from PostgreSQL ${sourceVersion} to 18 with the smallest file${renamed ? ', every table renamed' : ''}, while writers change it; verify is clean`,
    expectedSeconds: 40,
    run: async (context) => await move(context, { sample, sourceVersion, renamed }),
  };
}

export const SAMPLE_PROOFS: readonly Proof[] = [
  sampleProof(CHINOOK, 18, false),
  sampleProof(CHINOOK, 14, true),
  sampleProof(PAGILA, 14, false),
  sampleProof(PAGILA, 18, true),
];

interface Move {
  readonly sample: SampleDatabase;
  readonly sourceVersion: 14 | 18;
  readonly renamed: boolean;
}

async function move({ size, seed, say }: ProofContext, { sample, sourceVersion, renamed }: Move): Promise<Figures> {
  const file = renamed ? 'tables:\n  - from: public.*\n    to: moved.new_*' : 'tables:\n  - from: public.*';
  await using stage = await openProofStage({ name: sample.name, source: { version: sourceVersion }, file, sourceSql: '', targetSql: '' });
  await Promise.all([loadSample(stage.sourceUrl, sample), loadSampleEmpty(stage.targetUrl, sample)]);
  const tables = await tablesOf(stage.sourceUrl);
  if (renamed) await renameAll(stage.targetUrl, tables);
  const random = seeded(seed);
  await using writers = new AsyncDisposableStack();
  const running = [];
  for (let i = 0; i < WRITERS; i++) running.push(writers.use(await startWriter(stage.sourceUrl, sample, random)));
  {
    await using pipeline = Pipeline.start(stage.pipeline);
    await untilFollowing(pipeline);
    await delay(size === 'full' ? 8_000 : 1_500);
    const live = await requireVerified(stage);
    say(`verified while writers wrote, at ${live.at.lsn}: ${live.differences} differences`);
    await pipeline.stop();
  }
  const written = (await Promise.all(running.map(async (writer) => writer.stop()))).reduce((sum, count) => sum + count, 0);
  await runUntilCaughtUp(stage);
  const verified = await requireVerified(stage);
  const rows = await requireEqual(
    stage,
    tables.map((table) => ({ source: `public."${table}"`, target: renamed ? `moved."new_${table}"` : `public."${table}"` })),
  );
  return { tables: tables.length, 'rows equal': rows, 'transactions meanwhile': written, differences: verified.differences };
}

async function renameAll(url: string, tables: readonly string[]): Promise<void> {
  await execute(
    url,
    'create schema moved',
    ...tables.flatMap((table) => [
      `alter table public."${table}" rename to "new_${table}"`,
      `alter table public."new_${table}" set schema moved`,
    ]),
  );
}
