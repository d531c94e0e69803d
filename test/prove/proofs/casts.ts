/** Declared casts, and those that need no word, through the copy and through the stream. */
import { quoteIdent, quoteLiteral } from '#schemas/table.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { type ApplicationSession, execute, openSession, type TextRow } from '#test/support/application.ts';
import { type Random, seeded } from '#test/support/random.ts';
import { openProofStage, type ProofStage, requireVerified, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';
import { CAST_PAIRS, castsDdl, castsEntry, columnName, oracle } from '../types/casts.ts';
import { EXTENSION_SCHEMA, MADE_TYPES } from '../types/made-kinds.ts';
import { pick } from '../types/random-values.ts';

export const castsProof: Proof = {
  name: 'casts',
  claim: `${CAST_PAIRS.length} pairs of types: the target holds exactly what SELECT column::type gives, zones and the hours of clock changes included`,
  expectedSeconds: 10,
  run: runCasts,
};

const ROWS = { small: 100, full: 1_500 };
const ROWS_PER_INSERT = 50;
const SETTINGS = `set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set search_path = ${EXTENSION_SCHEMA}`;

async function runCasts({ size, seed }: ProofContext): Promise<Figures> {
  const random = seeded(seed);
  const rows = ROWS[size];
  const sql = (side: 'from' | 'to'): string => `${MADE_TYPES}; ${castsDdl(side)}`;
  await using stage = await openProofStage({
    name: 'casts',
    source: { version: size === 'full' ? 14 : 18 },
    file: `tables: [${castsEntry()}]`,
    sourceSql: sql('from'),
    targetSql: sql('to'),
  });
  await using session = await openSession(stage.sourceUrl);
  await insert(session, random, { from: 1, rows });
  {
    await using pipeline = Pipeline.start(stage.pipeline);
    await untilFollowing(pipeline);
    await change(session, random, rows);
    await pipeline.stop();
  }
  await runUntilCaughtUp(stage);
  const equal = await requireCast(stage);
  const verified = await requireVerified(stage);
  return { pairs: CAST_PAIRS.length, 'rows copied': rows, 'rows equal': equal, differences: verified.differences };
}

function literal(random: Random, i: number): string {
  return random.chance(0.1) ? 'NULL' : quoteLiteral(CAST_PAIRS[i]!.make(random));
}

async function insert(
  session: ApplicationSession,
  random: Random,
  { from, rows }: { readonly from: number; readonly rows: number },
): Promise<void> {
  for (let first = from; first < from + rows; first += ROWS_PER_INSERT) {
    const values = Array.from({ length: Math.min(ROWS_PER_INSERT, from + rows - first) }, (_, i) => {
      const id = first + i;
      return `(${id}, ${-id}, ${CAST_PAIRS.map((__, c) => literal(random, c)).join(', ')})`;
    });
    await session.query(`insert into app.casts values ${values.join(', ')}`);
  }
}

/** Singly and many at once: the sink takes another way for each. */
async function change(session: ApplicationSession, random: Random, rows: number): Promise<void> {
  for (let i = 0; i < rows / 2; i++) {
    const column = random.between(0, CAST_PAIRS.length - 1);
    const set = `${quoteIdent(columnName(CAST_PAIRS[column]!, column))} = ${literal(random, column)}`;
    const id = random.between(1, rows);
    await session.query(
      pick(random, [
        `update app.casts set ${set} where id = ${id}`,
        `update app.casts set ${set} where id = ${id}`,
        `delete from app.casts where id = ${id}`,
      ]),
    );
  }
  await insert(session, random, { from: rows + 1, rows });
  await session.query(`update app.casts set id = id + 100000, code = code - 100000 where id % 7 = 0`);
  await insert(session, random, { from: 3 * rows, rows: 5 });
}

/** @throws Error with the first differences. @returns rows. */
async function requireCast(stage: ProofStage): Promise<number> {
  const text = (value: string, i: number): string => `concat(num_nulls(${value}), ${value}) as v${i}`;
  const wanted = CAST_PAIRS.map((pair, i) => text(oracle(pair, i), i));
  const held = CAST_PAIRS.map((pair, i) => text(`x.${quoteIdent(columnName(pair, i))}`, i));
  const select = (values: readonly string[]): string =>
    `select x.id::text, x.code::text, ${values.join(', ')} from app.casts x order by x.id`;
  const [source, target] = await Promise.all([
    execute(stage.sourceUrl, SETTINGS, select(wanted)),
    execute(stage.targetUrl, SETTINGS, select(held)),
  ]);
  const lines: string[] = source.length === target.length ? [] : [`${source.length} rows on the source, ${target.length} on the target`];
  const byId = new Map(target.map((row) => [row['id'], row]));
  for (const row of source) lines.push(...differences(row, byId.get(row['id'] ?? '')));
  if (lines.length > 0) throw new Error(lines.slice(0, 30).join('\n'));
  return source.length;
}

function differences(wanted: TextRow, held: TextRow | undefined): string[] {
  if (held === undefined) return [`row ${wanted['id']} is missing`];
  const names = Object.keys(wanted).filter((name) => wanted[name] !== held[name]);
  return names.map((name) => {
    const pair = CAST_PAIRS[Number(name.slice(1))];
    return `row ${wanted['id']}, ${pair?.from} to ${pair?.to}: wanted ${JSON.stringify(wanted[name])}, the target holds ${JSON.stringify(held[name])}`;
  });
}
