/**
 * Each fault in a pipeline of its own over the same recorded load, and what the checker says of it in the end. Guarantee: what a fault did
 * is found out by SQL of the proof's own, on the target without the fault and on the one with it; the checker must say exactly that.
 */
import { isDeepStrictEqual } from 'node:util';
import { silentLogger } from '#services/runtime/service.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { verifyMigration, type VerifyOptions } from '#services/reconciler/verify.ts';
import { readMigration } from '#services/up/read-migration.ts';
import { execute } from '#test/support/application.ts';
import { type PostgresServer, startPostgres } from '#test/support/postgres.ts';
import { seeded } from '#test/support/random.ts';
import { fileFor } from '#test/support/running-instance.ts';
import { EventLog } from './event-log.ts';
import type { Fault } from './fault.ts';
import { type Damage, damageOf, keyText, readState, type TargetState } from './own-comparison.ts';
import { type Recording, record } from './recording.ts';
import { heldTopic, replay } from './replay.ts';
import { SOURCE, TABLES, TARGET } from './tables.ts';

export interface FaultRun {
  readonly faults: readonly Fault[];
  readonly seed: number;
  readonly say: (text: string) => void;
  /** The checker. */
  readonly check?: (options: VerifyOptions) => Promise<VerifyResult>;
}

export interface Caught {
  readonly fault: string;
  readonly damage: readonly Damage[];
}

interface Stage extends Pick<FaultRun, 'seed' | 'say'> {
  readonly server: PostgresServer;
  readonly source: string;
  readonly recording: Recording;
  readonly check: (options: VerifyOptions) => Promise<VerifyResult>;
  /** Of the target without a fault. */
  readonly whole: TargetState;
}

const PARALLEL = 2;

/** @throws Error with every fault that was not caught as what it is */
export async function runFaults({ faults, seed, say, check = verifyMigration }: FaultRun): Promise<readonly Caught[]> {
  await using server = await startPostgres({ version: 18 });
  const source = await server.createDatabase('origin');
  await execute(source, SOURCE);
  await execute(await server.createDatabase('empty'), TARGET);
  const first = await newTarget(server, 'live');
  const recording = await record(source, first, seeded(seed));
  const bare = { server, source, recording, check, seed, say, whole: await readState(first) };
  requireClean('the pipeline that was recorded', await checked(bare, first, recording.frames));
  const again = await newTarget(server, 'again');
  await replay({ source, target: again, ...recording, tables: TABLES });
  const stage: Stage = { ...bare, whole: await readState(again) };
  const apart = damageOf(bare.whole, stage.whole);
  if (apart.length > 0) throw new Error(`the log read again gives another target: ${shown(apart)}`);
  requireClean('the log read again', await checked(stage, again, recording.frames));
  say(`${recording.frames.length} records; both clean runs have 0 differences`);
  const caught: Caught[] = [];
  const missed: string[] = [];
  const queue = [...faults.entries()];
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [n, fault] = next;
      try {
        const damage = await runFault(stage, fault, n);
        say(`${fault.name}: ${shown(damage)}`);
        if (fault.isHarmless === undefined) caught.push({ fault: fault.name, damage });
      } catch (error) {
        say(`NOT CAUGHT ${fault.name}: ${String(error)}`);
        missed.push(`${fault.name}: ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  if (missed.length > 0) throw new Error(`${missed.length} of ${faults.length} faults were not caught:\n${missed.join('\n')}`);
  return caught;
}

async function newTarget(server: PostgresServer, name: string): Promise<string> {
  await execute(server.url('postgres'), `CREATE DATABASE ${name} TEMPLATE empty`);
  return server.url(name);
}

async function runFault(stage: Stage, { tables, wrap, tamper, ...fault }: Fault, n: number): Promise<readonly Damage[]> {
  const { server, source, recording, whole, seed } = stage;
  const name = `fault${n}`;
  const target = await newTarget(server, name);
  try {
    const log = new EventLog(recording.frames, seeded(seed ^ Math.imul(n + 1, 0x9e3779b1)));
    const keys = tamper?.(log) ?? [];
    const frames = log.tampered();
    await replay({ source, target, frames, end: recording.end, tables: tables?.(TABLES) ?? TABLES, wrap });
    const damage = damageOf(whole, await readState(target));
    const result = await checked(stage, target, frames);
    const at = new Set(damage.filter(({ table }) => table === fault.table).map(({ key }) => key));
    const spared = keys.filter((key) => key !== '' && !at.has(key));
    if (spared.length > 0) throw new Error(`it was to damage ${spared.join(', ')}, and did ${shown(damage)}`);
    if ((at.size === 0) !== (fault.isHarmless ?? false)) throw new Error(`it changed ${at.size} rows of ${fault.table}`);
    requireNamed(damage, result);
    return damage;
  } finally {
    await server.dropDatabase(name);
  }
}

async function checked(
  { source, check }: Pick<Stage, 'source' | 'check'>,
  target: string,
  frames: readonly Buffer[],
): Promise<VerifyResult> {
  const file = fileFor({ source, target, rest: TABLES });
  const { mapping } = await readMigration(file);
  const { name } = file;
  const log: VerifyOptions['log'] = async () => ({
    raw: heldTopic('raw', frames),
    progress: heldTopic('progress', []),
    close: async () => undefined,
  });
  const result = await check({
    sourceUrl: source,
    targetUrl: target,
    mapping,
    name,
    slot: name,
    publication: name,
    logger: silentLogger,
    log,
  });
  if (result.inconclusive > 0)
    throw new Error(`not judged: ${JSON.stringify(result.tables.flatMap(({ inconclusive = [] }) => inconclusive))}`);
  return result;
}

function requireClean(what: string, { differences, tables }: VerifyResult): void {
  if (differences > 0)
    throw new Error(
      `${what}: ${differences} differences: ${JSON.stringify(tables.flatMap(({ to, sample }) => sample.map((one) => [to, one])))}`,
    );
}

/** Verify's words, in the proof's. Rows that two tables make are named by each. */
function namedBy(result: VerifyResult): readonly Damage[] {
  return result.tables.flatMap(({ to, sample }) =>
    sample.map(({ key, kind, columns }) => ({ table: to.replace('public.', ''), key: key === null ? '' : keyText(key), kind, columns })),
  );
}

const byText = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);
const linesOf = (all: readonly Damage[]): string[] =>
  all.map(({ table, key, kind, columns }) => [table, key, kind, ...columns.toSorted(byText)].join(' ')).toSorted(byText);

/** Made by two tables: each of them says of the row what is its own. */
const JOINED = 'whole';

/** @throws Error unless the checker names exactly the rows that are damaged, as what they are, and the columns */
function requireNamed(damage: readonly Damage[], result: VerifyResult): void {
  const named = namedBy(result);
  const [joined, others] = [damage.filter(({ table }) => table === JOINED), damage.filter(({ table }) => table !== JOINED)];
  const keyed = others.filter(({ table }) => table !== 'journal');
  const found = named.filter(({ table, key }) => table !== JOINED && key !== '');
  if (!isDeepStrictEqual(linesOf(keyed), linesOf(found)))
    throw new Error(`verify names ${shown(found)} where the damage is ${shown(keyed)}`);
  const keysOf = (all: readonly Damage[]): string[] =>
    [...new Set(all.filter(({ table }) => table === JOINED).map(({ key }) => key))].toSorted(byText);
  if (!isDeepStrictEqual(keysOf(joined), keysOf(named)))
    throw new Error(`verify names ${shown(named)} where the damage is ${shown(joined)}`);
  const count = (kind: Damage['kind']): number => others.filter((one) => one.table === 'journal' && one.kind === kind).length;
  const journal = result.tables.find(({ to }) => to === 'public.journal')!;
  if (journal.missing !== count('missing') || journal.extra !== count('extra') || journal.different !== 0)
    throw new Error(`verify counts ${JSON.stringify(journal)} where the damage is ${shown(others)}`);
}

const SHOWN_MAX = 4;

export function shown(damage: readonly Damage[]): string {
  if (damage.length === 0) return 'nothing';
  const lines = linesOf(damage);
  const more = lines.length > SHOWN_MAX ? [`… ${lines.length} in all`] : [];
  return [...lines.slice(0, SHOWN_MAX), ...more].join('; ');
}
