/** Results as JSON for machines and as one Markdown table for people. Guarantee: the table says nothing that the JSON does not hold. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Result } from './measure.ts';
import type { BenchOptions } from './options.ts';

export interface Report {
  readonly at: string;
  readonly machine: { readonly cores: number; readonly model: string; readonly memoryGb: number; readonly node: string };
  readonly servers: { readonly source: string; readonly target: string; readonly settings: Readonly<Record<string, string>> };
  readonly options: BenchOptions;
  readonly contenders: Readonly<Record<string, string>>;
  readonly results: readonly Result[];
  readonly ratios: readonly Ratio[];
}

/** Who is held against whom. */
const PAIRS: Readonly<Record<string, string>> = { crossfade: 'native', kafka: 'debezium', 'kafka-doubled': 'debezium' };
/** In every contender's measurements: not its own. */
const SHARED_PROCESSES: ReadonlySet<string> = new Set(['source', 'target', 'broker']);

/** One contender over another: rates, and of latency how many times shorter the p50 is. Each round's pair of runs gives one ratio. */
export interface Ratio {
  readonly over: string;
  readonly under: string;
  readonly part: string;
  readonly what: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
  /** Drain, both from their walsender's start: without the start-up of either. */
  readonly streamingMedian?: number;
}

export function machine(): Report['machine'] {
  const [first] = cpus();
  return { cores: cpus().length, model: first?.model ?? 'unknown', memoryGb: Math.round(totalmem() / 2 ** 30), node: process.version };
}

export function writeReport(report: Report): string {
  mkdirSync(report.options.outDir, { recursive: true });
  const path = join(report.options.outDir, `bench-${report.at.replaceAll(/[:.]/g, '-')}.json`);
  writeFileSync(path, `${JSON.stringify(report, undefined, 2)}\n`);
  return path;
}

type Rate = (result: Result) => number | undefined;

export function ratios(results: readonly Result[]): readonly Ratio[] {
  return groups(results).flatMap(({ part, what }) =>
    Object.entries(PAIRS).flatMap(([over, under]) => ratio(results, { part, what, over, under })),
  );
}

type Pair = Pick<Ratio, 'part' | 'what' | 'over' | 'under'>;

function ratio(results: readonly Result[], pair: Pair): readonly Ratio[] {
  const { part, what } = pair;
  const counted = results.filter((result) => result.part === part && result.what === what && result.round > 0);
  const [low, middle, high] = spread(paired(counted, pair, speed));
  if (low === undefined || middle === undefined || high === undefined) return [];
  const streaming = spread(paired(counted, pair, (result) => result.rowsPerSecondStreaming))[1];
  return [{ ...pair, min: low, median: middle, max: high, ...(streaming !== undefined && { streamingMedian: streaming }) }];
}

function speed({ rowsPerSecond, latency }: Result): number | undefined {
  return latency === undefined ? rowsPerSecond : 1000 / latency.p50Ms;
}

/** Of the same round. */
function paired(results: readonly Result[], pair: Pair, rate: Rate): readonly number[] {
  return results.flatMap((one) => {
    if (one.contender !== pair.over) return [];
    const other = results.find((result) => result.contender === pair.under && result.round === one.round);
    const [over, under] = [rate(one), other === undefined ? undefined : rate(other)];
    return over === undefined || under === undefined ? [] : [over / under];
  });
}

export function markdown(whole: Report): string {
  const report = { ...whole, results: whole.results.filter((result) => result.round > 0) };
  const head = [
    `| part | what | contender | median | min – max | ${ratioNames(report.results)} | CPU s | peak MB |`,
    '|---|---|---|---|---|---|---|---|',
  ];
  const lines = groups(report.results).flatMap(({ part, what }) => {
    const contenders = [...new Set(report.results.filter((r) => r.part === part && r.what === what).map((r) => r.contender))];
    return contenders.map((contender) => row(report, { part, what, contender }));
  });
  return [...head, ...lines].join('\n');
}

function ratioNames(results: readonly Result[]): string {
  const names = new Set(results.map((result) => result.contender));
  const pairs = Object.entries(PAIRS).filter(([over, under]) => names.has(over) && names.has(under));
  return pairs.length === 0 ? 'ratio' : pairs.map(([over, under]) => `${over} ÷ ${under}`).join(', ');
}

interface Line {
  readonly part: string;
  readonly what: string;
  readonly contender: string;
}

function row(report: Report, line: Line): string {
  const runs = report.results.filter((r) => r.part === line.part && r.what === line.what && r.contender === line.contender);
  const found = report.ratios.find((r) => r.over === line.contender && r.part === line.part && r.what === line.what);
  const streaming = found?.streamingMedian === undefined ? '' : `; once streaming ${found.streamingMedian.toFixed(2)}`;
  const ratioText =
    found === undefined ? '' : `**${found.median.toFixed(2)}** (${found.min.toFixed(2)} – ${found.max.toFixed(2)})${streaming}`;
  const [middle, range] = line.part === 'latency' ? latencyText(runs) : rateText(runs);
  return `| ${line.part} | ${line.what} | ${line.contender} | ${middle} | ${range} | ${ratioText} | ${usageText(runs, 'cpuSeconds')} | ${usageText(runs, 'peakMemoryMb')} |`;
}

function rateText(runs: readonly Result[]): readonly [string, string] {
  const [low, middle, high] = spread(runs.map((run) => run.rowsPerSecond ?? Number.NaN));
  const [, seconds] = spread(runs.map((run) => run.seconds ?? Number.NaN));
  const streaming = spread(runs.flatMap((run) => run.rowsPerSecondStreaming ?? []))[1];
  const inStream = streaming === undefined ? '' : `, ${thousands(streaming)} once streaming`;
  return [`${thousands(middle)} rows/s (${seconds?.toFixed(2)} s${inStream})`, `${thousands(low)} – ${thousands(high)}`];
}

function latencyText(runs: readonly Result[]): readonly [string, string] {
  const figures = runs.flatMap((run) => run.latency ?? []);
  const middle = (pick: (f: (typeof figures)[number]) => number): string => spread(figures.map(pick))[1]?.toFixed(1) ?? '?';
  const p50 = spread(figures.map((f) => f.p50Ms));
  return [
    `p50 ${middle((f) => f.p50Ms)} ms, p99 ${middle((f) => f.p99Ms)} ms, max ${middle((f) => f.maxMs)} ms at ${middle((f) => f.achievedTps)} tps`,
    `p50 ${p50[0]?.toFixed(1)} – ${p50[2]?.toFixed(1)}`,
  ];
}

/** Each process, and where a contender has several the sum of its own: CPU medians, highest peaks. */
function usageText(runs: readonly Result[], field: 'cpuSeconds' | 'peakMemoryMb'): string {
  const names = [...new Set(runs.flatMap((run) => run.usage.map((usage) => usage.name)))];
  const digits = field === 'cpuSeconds' ? 1 : 0;
  const values = new Map(
    names.map((name) => {
      const all = spread(runs.flatMap((run) => run.usage.find((usage) => usage.name === name)?.[field] ?? []));
      return [name, field === 'cpuSeconds' ? all[1] : all[2]];
    }),
  );
  const own = names.filter((name) => !SHARED_PROCESSES.has(name));
  const parts = [...values].map(([name, value]) => `${name} ${value === undefined ? '–' : value.toFixed(digits)}`);
  if (own.length > 1) parts.push(`**own ${own.reduce((sum, name) => sum + (values.get(name) ?? 0), 0).toFixed(digits)}**`);
  return parts.join(', ');
}

/** Lowest, median, highest; undefined for none. */
function spread(values: readonly number[]): readonly [number | undefined, number | undefined, number | undefined] {
  const sorted = values.toSorted((a, b) => a - b);
  return [sorted[0], sorted[Math.floor((sorted.length - 1) / 2)], sorted.at(-1)];
}

function groups(results: readonly Result[]): readonly { readonly part: string; readonly what: string }[] {
  const seen = new Map(results.map((r) => [`${r.part} ${r.what}`, { part: r.part, what: r.what }]));
  return [...seen.values()];
}

export function thousands(value: number | undefined): string {
  return value === undefined ? '?' : value >= 10_000 ? `${(value / 1000).toFixed(1)} k` : value.toFixed(0);
}
