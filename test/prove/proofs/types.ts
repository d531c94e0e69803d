/** Every type of PostgreSQL through the copy and through the stream, judged by PostgreSQL. */
import { setTimeout as delay } from 'node:timers/promises';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute, openSession } from '#test/support/application.ts';
import { seeded } from '#test/support/random.ts';
import type { PostgresVersion } from '#test/support/postgres.ts';
import { openProofStage, type ProofStage, requireVerified, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';
import { missingKinds } from '../types/builtin-kinds.ts';
import { requireSameTable } from '../types/compare-zoo.ts';
import { EXTENSION_SCHEMA } from '../types/made-kinds.ts';
import { makeZoo, type Zoo } from '../types/zoo.ts';
import { ZooWriter } from '../types/zoo-writer.ts';

const FILE = 'tables:\n  - from: app.*';
const SEARCH_PATH = `set search_path = app, ${EXTENSION_SCHEMA}, public`;

const SIZES = { small: { rows: 700, changes: 700 }, full: { rows: 11_000, changes: 11_000 } };
const PAUSE_MS = 3;

function typesProof(version: PostgresVersion): Proof {
  return {
    name: `types-${version}`,
    claim: `random values of every type pass from PostgreSQL ${version} to 18 unchanged, through the copy and through the stream; verify is clean, and names a value changed behind its back`,
    expectedSeconds: 100,
    run: async (context) => await runTypes(context, version),
  };
}

export const TYPES_PROOFS: readonly Proof[] = [typesProof(14), typesProof(18)];

async function runTypes(context: ProofContext, version: PostgresVersion): Promise<Figures> {
  const zoo = makeZoo(version);
  const random = seeded(context.seed);
  await using stage = await openProofStage({ name: `types${version}`, source: { version }, file: FILE, sourceSql: zoo.ddl, targetSql: zoo.ddl });
  for (const url of [stage.sourceUrl, stage.targetUrl]) {
    const missing = await missingKinds(url, zoo.kinds);
    if (missing.length > 0) throw new Error(`no values are made for the types ${missing.join(', ')}`);
  }
  const writer = new ZooWriter(zoo, random);
  const size = SIZES[context.size];
  await using session = await openSession(stage.sourceUrl);
  await session.query(SEARCH_PATH);
  const began = Date.now();
  const copied = await writer.fill(session, size.rows);
  context.say(`${copied} rows filled in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  await stream(stage, async (until) => {
    // A tenth of the changes may fall into the copy.
    while (writer.changes < size.changes * (until === 'following' ? 0.1 : 1)) {
      await writer.write(session);
      await delay(PAUSE_MS);
    }
  });
  await runUntilCaughtUp(stage);
  const compared = await requireSameZoo(stage, zoo);
  const verified = await requireVerified(stage);
  return {
    types: zoo.kinds.length,
    'types of keys': zoo.keyed.length,
    'rows copied': copied,
    'changes streamed': writer.changes,
    transactions: writer.transactions,
    ...compared,
    differences: verified.differences,
  };
}

async function stream(stage: ProofStage, write: (until: 'following' | 'done') => Promise<void>): Promise<void> {
  await using pipeline = Pipeline.start(stage.pipeline);
  await write('following');
  await untilFollowing(pipeline);
  await write('done');
  await pipeline.stop();
}

async function requireSameZoo(stage: ProofStage, zoo: Zoo): Promise<Figures> {
  const sides = { source: stage.sourceUrl, target: stage.targetUrl };
  const total = { 'rows equal': 0, 'values equal as text': 0, 'and as binary': 0 };
  const problems: string[] = [];
  for (const name of [...zoo.wide, ...zoo.keyed].map((table) => table.name).concat('app.alone', 'app.paired')) {
    try {
      const compared = await requireSameTable(sides, name);
      total['rows equal'] += compared.rows;
      total['values equal as text'] += compared.values;
      total['and as binary'] += compared.binary;
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return total;
}

void execute;
