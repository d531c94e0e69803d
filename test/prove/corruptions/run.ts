/**
 * A running comparison under writes and lag, while rows of the target are spoilt. Guarantee: it returns only when each corruption was found with
 * its table, key, kind and columns, repaired and found equal, when nothing else was ever suspected, and a last verify found all equal.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { OPEN_STATES, type DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import { readLastFindings } from '#connectors/target/postgres/reconcile-record.ts';
import { explain, runCommand } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { seeded, type Random } from '#test/support/random.ts';
import { openProofStage, requireVerified, untilFollowing, type ProofStage } from '../proof-stage.ts';
import { corrupt, Numbers, type Corruption, type Deed, type Expected } from './corruption.ts';
import { startLag, type Pause } from './lag.ts';
import { STRAY_DEEDS, STRAY_ENVIRONMENT } from './strays.ts';
import { fillSql, TABLE_KINDS, type TableKind } from './table-kinds.ts';
import { startWriters } from './writers.ts';

export interface StormOptions {
  /** Of the largest table. */
  readonly rows: number;
  readonly perSecond: number;
  /** Under `reconcile:`; absent: the default. */
  readonly budgetPercent?: number;
  readonly seed: number;
  readonly say: (text: string) => void;
}

const NAME = 'storm';
const POLL_MS = 200;
/** A corruption that is not found by then is one that was missed. */
const FOUND_MS_MAX = 120_000;
const FINDINGS_MAX = 5_000;

export async function openStorm({ rows, budgetPercent }: StormOptions): Promise<ProofStage> {
  const sourceSql = TABLE_KINDS.flatMap((kind) => [kind.source, fillSql(kind, rows)]).join(';');
  return await openProofStage({
    name: NAME,
    file: `tables:\n${TABLE_KINDS.map(({ entry }) => entry).join('\n')}
heartbeatSeconds: 1
reconcile: { startAfterSeconds: 0${budgetPercent === undefined ? '' : `, budgetPercent: ${budgetPercent}`} }`,
    sourceSql: `${sourceSql};ANALYZE`,
    targetSql: TABLE_KINDS.map(({ target }) => target).join(';'),
  });
}

/** Following, and each part compared once. */
export async function untilProved(pipeline: Pipeline): Promise<void> {
  await untilFollowing(pipeline);
  await pipeline.waitFor((status) => typeof proofOf(status)?.provedSince === 'string', { what: 'proved once', timeoutMs: FOUND_MS_MAX });
}

export interface Proved {
  readonly comparisons: number;
  readonly provedSince: string | null;
}

export function proofOf(status: object = {}): Proved | undefined {
  const { reconciliation } = status as { readonly reconciliation?: Proved };
  return reconciliation;
}

export interface CorruptionsOptions extends StormOptions {
  readonly corruptions: number;
  readonly seconds: number;
  readonly perWave: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Detected {
  readonly corruption: Corruption;
  readonly afterMs: number;
  readonly inPause: boolean;
}

export interface CorruptionsRun {
  readonly detected: readonly Detected[];
  readonly pauses: readonly Pause[];
  readonly lagMaxSeconds: number;
  readonly comparisons: number;
  readonly rows: number;
  readonly perSecond: number;
}

export async function runCorruptions(options: CorruptionsOptions): Promise<CorruptionsRun> {
  const { say, env } = options;
  const random = seeded(options.seed);
  await using stage = await openStorm(options);
  await using pipeline = Pipeline.start({ ...stage.pipeline, env: { ...STRAY_ENVIRONMENT, ...env } });
  await untilProved(pipeline);
  say('all is proved once');
  await using writers = await startWriters({ url: stage.sourceUrl, ...options, random: seeded(random.between(1, 1e9)) });
  const tables = TABLE_KINDS.map(({ to }) => to);
  await using lag = await startLag(stage.targetUrl, tables, seeded(random.between(1, 1e9)));
  const storm = new Storm({ stage, pipeline, random, options });
  await storm.run(lag.pauses);
  await lag.stop();
  const written = await writers.stop();
  await storm.requireNoFalseAlarm();
  await requireVerified(stage);
  const comparisons = proofOf(await pipeline.status())?.comparisons ?? 0;
  const ended = await pipeline.stop();
  if (ended.code !== 0) throw new Error(`crossfade up ended with ${ended.code}\n${pipeline.logTail()}`);
  return { ...written, comparisons, pauses: lag.pauses, detected: storm.detected, lagMaxSeconds: storm.lagMaxSeconds };
}

interface Parts {
  readonly stage: ProofStage;
  readonly pipeline: Pipeline;
  readonly random: Random;
  readonly options: CorruptionsOptions;
}

class Storm {
  readonly #parts: Parts;
  readonly #numbers: Numbers;
  readonly #done: Corruption[] = [];
  readonly #plan: (readonly [TableKind, Deed])[];
  readonly detected: Detected[] = [];
  lagMaxSeconds = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { corruptions, rows } = parts.options;
    this.#numbers = new Numbers(rows, parts.random);
    this.#plan = planOf(corruptions, parts.random);
  }

  async run(pauses: readonly Pause[]): Promise<void> {
    const { seconds, perWave, say } = this.#parts.options;
    const startedAtMs = Date.now();
    while (this.#plan.length > 0 || Date.now() - startedAtMs < seconds * 1000) {
      const wave = await this.#corrupt(perWave);
      await this.#until(wave, 'confirmed');
      this.#judge(wave, { pauses, findings: await this.#findings() });
      await this.#repair(wave);
      await this.requireNoFalseAlarm();
      const seen = this.detected.slice(-wave.length).map(({ afterMs }) => (afterMs / 1000).toFixed(1));
      if (wave.length > 0) say(`${this.#done.length} corruptions, these found after ${seen.join(' ')} s`);
    }
  }

  /** One at a time of a table without a key: its rows are told together. */
  async #corrupt(most: number): Promise<Corruption[]> {
    const { stage, random } = this.#parts;
    const wave: Corruption[] = [];
    const later: (readonly [TableKind, Deed])[] = [];
    while (wave.length < most && this.#plan.length > 0) {
      const [table, deed] = this.#plan.shift()!;
      if (table.named.length === 0 && wave.some((one) => one.table === table)) later.push([table, deed]);
      else {
        wave.push(await corrupt({ ...stage, numbers: this.#numbers, random }, table, deed));
        this.#done.push(wave.at(-1)!);
        await delay(random.between(0, POLL_MS));
      }
    }
    this.#plan.push(...later);
    return wave;
  }

  async #findings(): Promise<DriftFinding[]> {
    return await readLastFindings(this.#parts.stage.targetUrl, NAME, FINDINGS_MAX);
  }

  /** @throws Error naming those that were missed. */
  async #until(wave: readonly Corruption[], state: 'confirmed' | 'verified'): Promise<void> {
    const deadline = Date.now() + FOUND_MS_MAX;
    for (;;) {
      const { pipeline } = this.#parts;
      if (pipeline.result !== undefined) throw new Error(`crossfade up ended\n${pipeline.logTail()}`);
      this.lagMaxSeconds = Math.max(this.lagMaxSeconds, (await pipeline.status())?.lag.seconds ?? 0);
      const findings = await this.#findings();
      const missed = wave.filter((one) => !foundOf(one, findings).every((finding) => finding?.steps.some((step) => step.state === state)));
      if (missed.length === 0) return;
      if (Date.now() > deadline) {
        const lines = missed.map(({ table, deed, n, expected }) => `${table.name} ${n}, ${deed}: ${JSON.stringify(expected)}`);
        const open = findings.filter((one) => OPEN_STATES.has(one.state)).map(told);
        throw new Error(`not ${state} within ${FOUND_MS_MAX / 1000} s:\n${lines.join('\n')}\nopen are:\n${open.join('\n')}`);
      }
      await delay(POLL_MS);
    }
  }

  #judge(wave: readonly Corruption[], { findings, pauses }: { findings: readonly DriftFinding[]; pauses: readonly Pause[] }): void {
    for (const corruption of wave) {
      const toMs = Math.max(...foundOf(corruption, findings).map((finding) => finding!.steps[0]!.atMs));
      const inPause = pauses.some((pause) => pause.fromMs < toMs && pause.toMs > corruption.atMs);
      this.detected.push({ corruption, afterMs: Math.max(0, toMs - corruption.atMs), inPause });
    }
  }

  async #repair(wave: readonly Corruption[]): Promise<void> {
    const { stage } = this.#parts;
    if (wave.length === 0) return await delay(POLL_MS);
    const repaired = await runCommand(['repair'], stage.pipeline);
    if (repaired.code !== 0) throw new Error(`crossfade repair: ${explain(repaired)}`);
    await this.#until(wave, 'verified');
  }

  /** Every finding that was ever written down is of a corruption, and ended as verified or is on its way there. */
  async requireNoFalseAlarm(): Promise<void> {
    const findings = await this.#findings();
    const known = new Set(this.#done.flatMap((one) => foundOf(one, findings)));
    const wrong = findings.filter((finding) => finding.state === 'flapped' || !known.has(finding));
    if (wrong.length > 0) throw new Error(`${wrong.length} false alarms:\n${wrong.slice(0, 20).map(told).join('\n')}`);
  }
}

function told({ from, to, key, kind, columns, rows, steps }: DriftFinding): string {
  const life = steps.map(({ state, atMs, lsn }) => `${state} ${new Date(atMs).toISOString()} ${lsn}`).join(', ');
  return `${from} → ${to} ${JSON.stringify(key)} ${kind} [${columns.join(', ')}] ${rows} rows: ${life}`;
}

/** What was said of a corruption, in the order of what is expected. Rows without a key come under one name again and again. */
function foundOf({ expected, beganMs }: Corruption, findings: readonly DriftFinding[]): (DriftFinding | undefined)[] {
  const since = findings.filter(({ steps }) => steps[0]!.atMs >= beganMs).toReversed();
  return expected.map((one) => since.find((finding) => matches(finding, one)));
}

function matches(finding: DriftFinding, { from, to, key, kind, columns, rows }: Expected): boolean {
  return (
    finding.rows === rows &&
    finding.from === from &&
    finding.to === to &&
    finding.kind === kind &&
    isDeepStrictEqual(finding.columns, columns) &&
    isDeepStrictEqual(finding.key, key)
  );
}

const DEEDS: readonly Deed[] = ['cell changed', 'row deleted', 'row added', ...STRAY_DEEDS];

/** Each deed in each kind of table before any comes again, in a random order. */
function planOf(count: number, random: Random): (readonly [TableKind, Deed])[] {
  const all = TABLE_KINDS.flatMap((table) => {
    const deeds = DEEDS.filter((deed) => deed !== 'row added' || table.add !== undefined);
    return deeds.map((deed) => [table, deed] as const);
  });
  const plan: (readonly [TableKind, Deed])[] = [];
  while (plan.length < count) {
    const round = all.map((one) => ({ one, at: random.next() })).toSorted((one, other) => one.at - other.at);
    plan.push(...round.map(({ one }) => one));
  }
  return plan.slice(0, count);
}
