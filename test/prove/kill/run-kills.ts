/**
 * The kill test: a migration under load whose process is killed again and again, from its first chunk to long after the change-over.
 * Guarantee: it returns only when source and target hold the same rows at the end (by the test's own SQL and by `verify`); the ledger's
 * findings are returned, for the caller to judge (the same run with a guard off must show them).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#schemas/errors.ts';
import { Pipeline, type PipelineStatus } from '#services/demo/pipeline/pipeline.ts';
import { execute, openSession } from '#test/support/application.ts';
import { seeded } from '#test/support/random.ts';
import { openProofStage, type ProofStage, requireEqual, requireVerified, untilFollowing } from '../proof-stage.ts';
import { historyOf, type LedgerFigures, readLedger } from './ledger.ts';
import { type Load, startLoad } from './load.ts';
import { type Group, GROUPS, planKills, showStrike, type Strike } from './plan.ts';
import { fileBody, type KillTable, sourceSql, TABLES, targetSql } from './tables.ts';

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  /** How much of the kills falls while the copy is under way; half of them when absent. */
  readonly copyingPart?: number;
  /** Rows of the largest table. */
  readonly rows: number;
  /** For example CROSSFADE_TEST_DISABLE, to see the test go red. */
  readonly env?: Readonly<Record<string, string>>;
  /** False: leave the rows uncompared (a run that is meant to be red). */
  readonly compare: boolean;
  readonly say: (text: string) => void;
}

export interface KillReport {
  readonly kills: number;
  /** How many struck in each group of failpoints, and from outside. */
  readonly struck: Readonly<Record<Group | 'outside', number>>;
  /** Planned strikes whose place was not reached: struck from outside instead, and counted there. */
  readonly missed: number;
  readonly duringCopy: number;
  readonly rowsCompared: number;
  readonly ledger: LedgerFigures;
}

const WRITERS = 3;
const LOOK_EVERY_MS = 100;
const STRIKE_PATIENCE_MS = 45_000;
const FINISH_PATIENCE_MS = 180_000;

export async function runKills(options: KillOptions): Promise<KillReport> {
  const random = seeded(options.seed);
  const plan = planKills(options.kills, options.copyingPart ?? 0.5, random);
  await using stage = await openProofStage({
    name: 'kill',
    file: fileBody('slow'),
    sourceSql: sourceSql(options.rows),
    targetSql: targetSql(),
  });
  await using load = await startLoad(stage, WRITERS, () => random.next() * 2 - 1);
  const run = new KillRun(stage, options);
  for (const strike of plan.copying) await run.strike(strike);
  const duringCopy = run.kills - run.killsAfterCopy;
  stage.writeFile(fileBody('fast'));
  for (const strike of plan.following) await run.strike(strike);
  return await finish(run, load, { options, duringCopy });
}

async function finish(
  run: KillRun,
  load: Load,
  { options, duringCopy }: { readonly options: KillOptions; readonly duringCopy: number },
): Promise<KillReport> {
  await using pipeline = run.start({});
  run.observe(await untilFollowing(pipeline, FINISH_PATIENCE_MS));
  const last = await load.stop();
  await untilArrived(run.stage, pipeline, last);
  const rowsCompared = options.compare ? await compare(run.stage) : 0;
  const ledger = await readLedger(run.stage.targetUrl, run.strictFrom());
  await pipeline.stop();
  return { kills: run.kills, struck: run.struck, missed: run.missed, duringCopy, rowsCompared, ledger };
}

async function compare(stage: ProofStage): Promise<number> {
  const tables = TABLES.map((table) => ({ source: table, target: table }));
  const rows = await requireEqual(stage, tables).catch(async (error: unknown) => {
    throw new Error(`${messageOf(error)}\n${await historyOf(stage, messageOf(error))}`, { cause: error });
  });
  await requireVerified(stage);
  return rows;
}

class KillRun {
  readonly stage: ProofStage;
  readonly #options: KillOptions;
  readonly struck: Record<Group | 'outside', number> = { start: 0, chunk: 0, log: 0, sink: 0, slot: 0, changeover: 0, outside: 0 };
  readonly #followingSince = new Map<KillTable, number>();
  kills = 0;
  killsAfterCopy = 0;
  missed = 0;

  constructor(stage: ProofStage, options: KillOptions) {
    this.stage = stage;
    this.#options = options;
  }

  start(env: Readonly<Record<string, string>>): Pipeline {
    return Pipeline.start({ ...this.stage.pipeline, env: { ...this.#options.env, ...env } });
  }

  async strike(strike: Strike): Promise<void> {
    const env: Record<string, string> = strike.kind === 'failpoint' ? { CROSSFADE_TEST_FAILPOINT: `${strike.point}:${strike.count}` } : {};
    await using pipeline = this.start(env);
    const limitMs = strike.kind === 'failpoint' ? STRIKE_PATIENCE_MS : strike.afterMs;
    const atFailpoint = await this.#untilStruck(pipeline, limitMs);
    if (!atFailpoint) await pipeline.kill();
    const end = pipeline.result;
    if (end?.signal !== 'SIGKILL')
      throw new Error(`crossfade up ended by itself, exit code ${end?.code}, at ${showStrike(strike)}\n${pipeline.logTail()}`);
    this.#count(strike, atFailpoint);
    this.#options.say(
      `#${this.kills} ${showStrike(strike)}${strike.kind === 'failpoint' && !atFailpoint ? ' was not reached: struck from outside' : ''}, after ${Date.now() - pipeline.startedAt} ms`,
    );
  }

  /** True when the process has ended by itself; statuses seen on the way are kept. */
  async #untilStruck(pipeline: Pipeline, limitMs: number): Promise<boolean> {
    const deadline = Date.now() + limitMs;
    while (Date.now() < deadline) {
      const ended = await Promise.race([pipeline.ended(), delay(Math.min(LOOK_EVERY_MS, Math.max(1, deadline - Date.now())), undefined)]);
      if (ended !== undefined) return true;
      const status = await pipeline.status();
      if (status !== undefined) await this.#look(status);
    }
    return false;
  }

  #count(strike: Strike, atFailpoint: boolean): void {
    this.kills++;
    if (TABLES.every((table) => this.#followingSince.has(table))) this.killsAfterCopy++;
    if (strike.kind === 'failpoint' && atFailpoint) this.struck[strike.group]++;
    else this.struck.outside++;
    if (strike.kind === 'failpoint' && !atFailpoint) this.missed++;
  }

  async #look(status: PipelineStatus): Promise<void> {
    if (!TABLES.some((table) => !this.#followingSince.has(table) && phaseOf(status, table) === 'following')) return;
    // Any op id drawn after this moment is written after the table's last chunk was in the log.
    const [row] = await execute(this.stage.sourceUrl, `select nextval('op') as op`);
    for (const table of TABLES) {
      if (!this.#followingSince.has(table) && phaseOf(status, table) === 'following') this.#followingSince.set(table, Number(row?.['op']));
    }
  }

  /** For the last start, when everything follows and ops drawn so far stay unjudged where no start saw the table follow. */
  observe(status: PipelineStatus): void {
    for (const table of TABLES)
      if (!this.#followingSince.has(table) && phaseOf(status, table) === 'following')
        this.#followingSince.set(table, Number.MAX_SAFE_INTEGER);
  }

  strictFrom(): Readonly<Record<KillTable, number>> {
    return Object.fromEntries(TABLES.map((table) => [table, this.#followingSince.get(table) ?? Number.MAX_SAFE_INTEGER])) as Record<
      KillTable,
      number
    >;
  }
}

function phaseOf(status: PipelineStatus, table: string): string | undefined {
  return status.tables.find((one) => one.from === table || one.from === `public.${table}`)?.phase;
}

async function untilArrived(stage: ProofStage, pipeline: Pipeline, op: string): Promise<void> {
  const deadline = Date.now() + FINISH_PATIENCE_MS;
  await using target = await openSession(stage.targetUrl);
  while ((await target.query(`select 1 from journal where op = ${op}`)).length === 0) {
    if (pipeline.result !== undefined || Date.now() > deadline)
      throw new Error(`the last change did not arrive on the target\n${pipeline.logTail()}`);
    await delay(20);
  }
}

/** Groups that the full proof wants struck at least ten times each. */
export const COUNTED_GROUPS: readonly Group[] = (Object.keys(GROUPS) as Group[]).filter(
  (group) => group !== 'slot' && group !== 'changeover',
);
