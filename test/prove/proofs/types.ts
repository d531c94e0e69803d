/** Every type of PostgreSQL through the copy and through the stream, judged by PostgreSQL. */
import { setTimeout as delay } from 'node:timers/promises';
import { quoteIdent, quoteLiteral } from '#schemas/table.ts';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';
import { type Random, seeded } from '#test/support/random.ts';
import type { PostgresVersion } from '#test/support/postgres.ts';
import { openProofStage, type ProofStage, requireVerified, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';
import { missingKinds } from '../types/builtin-kinds.ts';
import { requireSameTable } from '../types/compare-zoo.ts';
import { pick } from '../types/random-values.ts';
import { keyKinds } from '../types/key-kinds.ts';
import { EXTENSION_SCHEMA } from '../types/made-kinds.ts';
import { damageKeyed, hostileSettings, makeZoo, type Zoo } from '../types/zoo.ts';
import { ZooWriter } from '../types/zoo-writer.ts';

// Small chunks: their bounds are literals of each type of key.
const FILE = 'tables:\n  - from: app.*\ncopy: { chunkRows: 100 }';
/** The tests' own sessions, against what the databases are set to. */
const SETTINGS = `set search_path = app, ${EXTENSION_SCHEMA}, public; set client_encoding = 'UTF8'; set xmloption = content; set array_nulls = on;
  set datestyle = 'ISO, MDY'; set intervalstyle = postgres; set timezone = 'UTC'; set quote_all_identifiers = off; set extra_float_digits = 1`;

interface Size {
  /** Rows of all wide tables together, and of each table of a key type. */
  readonly wide: number;
  readonly keyed: number;
  readonly keyTypes: number;
  /** Changes made after the copy. */
  readonly changes: number;
}

const SIZES: Readonly<Record<ProofContext['size'], Size>> = {
  small: { wide: 300, keyed: 110, keyTypes: 12, changes: 500 },
  full: { wide: 9_000, keyed: 250, keyTypes: Number.POSITIVE_INFINITY, changes: 11_000 },
};
const PAUSE_MS = 3;
const APPLIED_PATIENCE_MS = 60_000;

function typesProof(version: PostgresVersion): Proof {
  return {
    name: `types-${version}`,
    claim: `random values of every type pass from PostgreSQL ${version} to 18 unchanged, through the copy and through the stream; verify is clean, and names a value changed behind its back`,
    expectedSeconds: 60,
    run: async (context) => await runTypes(context, version),
  };
}

export const TYPES_PROOFS: readonly Proof[] = [typesProof(14), typesProof(18)];

async function runTypes(context: ProofContext, version: PostgresVersion): Promise<Figures> {
  const random = seeded(context.seed);
  const size = SIZES[context.size];
  const zoo = makeZoo(version, someOf(random, keyKinds(version), size.keyTypes));
  await using stage = await openProofStage({
    name: `types${version}`,
    source: { version },
    file: FILE,
    sourceSql: `${zoo.ddl}; ${hostileSettings('source')}`,
    targetSql: `${zoo.ddl}; ${hostileSettings('target')}`,
  });
  for (const url of [stage.sourceUrl, stage.targetUrl]) {
    const missing = await missingKinds(url, zoo.kinds);
    if (missing.length > 0) throw new Error(`no values are made for the types ${missing.join(', ')}`);
  }
  await using session = await openSession(stage.sourceUrl);
  await session.query(SETTINGS);
  const writer = new ZooWriter(zoo, random);
  const copied = await writer.fill(session, size);
  context.say(`${copied} rows filled`);
  const done = await followAndRepair({ ...context, stage, zoo, random, writer, session });
  // Once more from the log and the slot: nothing of it may be applied twice.
  if (context.size === 'full') await runUntilCaughtUp(stage);
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
    'changed behind its back': done.join(', '),
  };
}

function someOf<T>(random: Random, all: readonly T[], most: number): readonly T[] {
  const left = [...all];
  while (left.length > most) left.splice(random.between(0, left.length - 1), 1);
  return left;
}

interface Play extends ProofContext {
  readonly stage: ProofStage;
  readonly zoo: Zoo;
  readonly random: Random;
  readonly writer: ZooWriter;
  readonly session: ApplicationSession;
}

/** @returns what was changed behind the pipeline's back, found and mended. */
async function followAndRepair({ size, say, stage, zoo, random, writer, session }: Play): Promise<readonly string[]> {
  const write = async (): Promise<void> => {
    await writer.write(session);
    await delay(PAUSE_MS);
  };
  const writeWhile = async <T>(work: Promise<T>): Promise<T> => {
    const done = new AbortController();
    const ended = work.finally(() => done.abort());
    ended.catch(() => undefined); // thrown below
    while (!done.signal.aborted) await write();
    return await ended;
  };
  await using pipeline = Pipeline.start(stage.pipeline);
  await writeWhile(untilFollowing(pipeline));
  const during = writer.changes;
  while (writer.changes < during + SIZES[size].changes) await write();
  const live = await writeWhile(requireVerified(stage));
  say(`following after ${during} changes; verified while writing: ${live.differences} differences`);
  await untilApplied(pipeline);
  const tampered = await requireTamperingSeen(stage, zoo, random);
  await requireRepaired(stage, zoo, random);
  say('tampering found and repaired');
  await pipeline.stop();
  return tampered;
}

const TAMPERED = 3;

/** One value in each of some tables becomes another on the target. @throws Error when verify does not name key and column. */
async function requireTamperingSeen(stage: ProofStage, zoo: Zoo, random: Random): Promise<readonly string[]> {
  const tampered: { readonly to: string; readonly id: string; readonly column: string }[] = [];
  const tables = zoo.wide.filter((table) => !table.keyless);
  while (tampered.length < TAMPERED) {
    const table = pick(random, tables);
    const column = pick(random, table.columns);
    const to = table.name.replaceAll('"', '');
    if (tampered.some((one) => one.to === to)) continue;
    const name = quoteIdent(column.name);
    const value = `${quoteLiteral(column.make(random))}::${column.sql}`;
    const [row] = await execute(
      stage.targetUrl,
      SETTINGS,
      `update ${table.name} set ${name} = ${value} where id = (select id from ${table.name}
        where concat(num_nulls(${name}), ${name}) <> concat(num_nulls(${value}), ${value}) order by id offset ${random.between(0, 20)} limit 1) returning id`,
    );
    if (row !== undefined) tampered.push({ to, id: row['id'] ?? '', column: column.name });
  }
  const { code, envelope } = await runCommand<TamperedResult>(['verify'], stage.pipeline);
  const { result } = envelope ?? {};
  const named = tampered.filter(({ to, id, column }) => {
    const sample = result?.tables.find((table) => table.to === to)?.sample;
    return sample?.length === 1 && sample[0]?.key['id'] === id && sample[0].columns.join() === column;
  });
  if (code !== 11 || result?.differences !== TAMPERED || named.length < TAMPERED)
    throw new Error(`verify (exit code ${code}) does not name ${JSON.stringify(tampered)}:\n${JSON.stringify(result, undefined, 1)}`);
  return tampered.map(({ to, column }) => `${to} ${column}`);
}

interface TamperedResult {
  readonly tables: readonly {
    readonly to: string;
    readonly sample: readonly { readonly key: Readonly<Record<string, string>>; readonly columns: readonly string[] }[];
  }[];
  readonly differences: number;
}

/** Asked again as long as a request lasts: a loaded machine takes longer than one. */
async function untilApplied(pipeline: Pipeline): Promise<void> {
  const deadline = Date.now() + APPLIED_PATIENCE_MS;
  while (pipeline.result === undefined && Date.now() < deadline) {
    if ((await pipeline.request('POST', '/v1/marker', {})) !== undefined) return;
    await delay(100);
  }
  throw new Error(`a marker was not applied in time\n${pipeline.logTail()}`);
}

/** Rows of every key type are lost, added and changed on the target. @throws Error when repair does not find or mend them. */
async function requireRepaired(stage: ProofStage, zoo: Zoo, random: Random): Promise<void> {
  await execute(stage.targetUrl, SETTINGS, ...zoo.keyed.flatMap((table) => damageKeyed(random, table)));
  const found = await runCommand<VerifyResult>(['verify'], stage.pipeline);
  const missed = zoo.keyed.filter(({ name }) => {
    const table = found.envelope?.result?.tables.find((one) => one.to === name.replaceAll('"', ''));
    // A key of two values may have but one row at the moment.
    return table === undefined || table.missing + table.different < Math.min(2, table.rowsSource);
  });
  if (found.code !== 11 || missed.length > 0)
    throw new Error(`verify: ${explain(found)}; too little found in ${missed.map((table) => table.name).join(', ')}`);
  const repaired = await runCommand<VerifyResult>(['repair'], stage.pipeline);
  if (repaired.code !== 0) throw new Error(`crossfade repair: ${explain(repaired)}\n${JSON.stringify(repaired.envelope?.result)}`);
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
