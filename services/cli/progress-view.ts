/**
 * Progress while `up` runs. Guarantee: rates are measured over the last half minute and not since the start, the time left is given
 * only where it can be known, and what is unknown is said to be.
 */
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { Screen } from './command.ts';
import type { Paint } from './paint.ts';
import { formatBytes, formatCount, formatDuration, renderTable } from './render.ts';

const WINDOW_MS = 30_000;
/** Below this a rate would be guesswork. */
const WINDOW_MS_MIN = 2_000;
const LOG_EVERY_MS = 10_000;
/** Rows of the table on a terminal: those in motion first. */
const TABLES_SHOWN = 12;

interface Sample {
  readonly atMs: number;
  readonly rowsCopied: number;
  readonly changesApplied: number;
}

export interface Progress {
  readonly status: StatusResult;
  readonly rowsCopied: number;
  readonly rowsEstimated: number;
  readonly changesApplied: number;
  /** Undefined while too little was seen. */
  readonly rowsPerSecond: number | undefined;
  readonly changesPerSecond: number | undefined;
  /** Undefined when nothing is left to copy, when nothing moves, or when there are more rows than estimated. */
  readonly secondsLeft: number | undefined;
}

export class ProgressMeter {
  #samples: Sample[] = [];

  push(status: StatusResult, nowMs: number): Progress {
    const sum = (of: (table: StatusResult['tables'][number]) => number): number =>
      status.tables.reduce((total, table) => total + of(table), 0);
    const now: Sample = { atMs: nowMs, rowsCopied: sum((table) => table.rowsCopied), changesApplied: sum((table) => table.changesApplied) };
    this.#samples = [...this.#samples.filter((sample) => nowMs - sample.atMs <= WINDOW_MS), now];
    const first = this.#samples[0] ?? now;
    const seconds = (nowMs - first.atMs) / 1000;
    const rate = (of: (sample: Sample) => number): number | undefined =>
      seconds * 1000 < WINDOW_MS_MIN ? undefined : Math.max(0, (of(now) - of(first)) / seconds);
    const rowsPerSecond = rate((sample) => sample.rowsCopied);
    return {
      status,
      rowsCopied: now.rowsCopied,
      rowsEstimated: sum((table) => table.rowsEstimated),
      changesApplied: now.changesApplied,
      rowsPerSecond,
      changesPerSecond: rate((sample) => sample.changesApplied),
      secondsLeft: timeLeft(status, rowsPerSecond),
    };
  }
}

function timeLeft(status: StatusResult, rowsPerSecond: number | undefined): number | undefined {
  if (status.phase !== 'copying' || rowsPerSecond === undefined || rowsPerSecond < 1) return undefined;
  const open = status.tables.filter((table) => table.phase === 'copying' || table.phase === 'waiting');
  if (open.some((table) => table.rowsCopied > table.rowsEstimated && table.phase === 'copying')) return undefined;
  const left = open.reduce((total, table) => total + Math.max(0, table.rowsEstimated - table.rowsCopied), 0);
  return left === 0 ? undefined : left / rowsPerSecond;
}

export interface ProgressOutput {
  show(status: StatusResult): void;
  /** Leaves the last picture on the screen. */
  end(): void;
}

/** Redraws on a terminal; one log line every 10 s elsewhere. */
export function createProgressOutput(screen: Screen, paint: Paint, log: Logger, clock: () => number = Date.now): ProgressOutput {
  const meter = new ProgressMeter();
  let lines = 0;
  let loggedMs = -Infinity;
  return {
    show: (status) => {
      const now = clock();
      const progress = meter.push(status, now);
      if (screen.isTerminal) {
        const text = renderProgress(progress, paint);
        screen.write(`${lines > 0 ? `\u001b[${lines}F\u001b[J` : ''}${text}`);
        lines = text.split('\n').length - 1;
      } else if (now - loggedMs >= LOG_EVERY_MS) {
        loggedMs = now;
        log.info(progressDetails(progress), describePhase(progress));
      }
    },
    end: () => (lines = 0),
  };
}

function progressDetails({
  status,
  rowsCopied,
  rowsEstimated,
  changesApplied,
  rowsPerSecond,
  changesPerSecond,
  secondsLeft,
}: Progress): Record<string, unknown> {
  return {
    phase: status.phase,
    rowsCopied,
    rowsEstimated,
    changesApplied,
    rowsPerSecond: rowsPerSecond === undefined ? null : Math.round(rowsPerSecond),
    changesPerSecond: changesPerSecond === undefined ? null : Math.round(changesPerSecond),
    secondsLeft: secondsLeft === undefined ? null : Math.round(secondsLeft),
    lagBytes: status.lag.bytes,
    lagSeconds: status.lag.seconds,
    appliedLsn: status.applied.lsn,
    held: status.tables.filter((table) => table.phase === 'held').length,
  };
}

function describePhase(progress: Progress): string {
  return progress.status.phase === 'copying' ? 'copying' : progress.status.phase;
}

export function renderProgress(progress: Progress, paint: Paint): string {
  const { status } = progress;
  const rate = (value: number | undefined, unit: string): string => (value === undefined ? `– ${unit}` : `${formatCount(value)} ${unit}`);
  const held = status.tables.filter((table) => table.phase === 'held');
  const copy =
    status.phase === 'copying'
      ? `  copied   ${formatCount(progress.rowsCopied)} of about ${formatCount(progress.rowsEstimated)} rows   ${rate(progress.rowsPerSecond, 'rows/s')}   ${
          progress.secondsLeft === undefined ? 'time left unknown' : `about ${formatDuration(progress.secondsLeft)} left`
        }\n`
      : '';
  const head = `${paint.bold(status.name)}  ${paint.cyan(status.phase)}\n`;
  const changes = `  changes  ${formatCount(progress.changesApplied)} applied   ${rate(progress.changesPerSecond, 'changes/s')}\n`;
  const copying = describeCopy(status.copy)
    .map((line) => `  copy     ${paint.yellow(line)}\n`)
    .join('');
  const trouble = held.map((table) => `  ${paint.red('held')}     ${table.from}: ${table.error ?? 'unknown cause'}\n`).join('');
  return `${head}${copy}${changes}  lag      ${describeLag(status.lag)}\n${copying}${trouble}${renderTables(status, paint)}`;
}

/** What an operator has set, and what of his requests was refused; nothing where the copy runs as the file says. */
export function describeCopy({ paused, maxRowsPerSecond, maxBytesPerSecond, refused }: StatusResult['copy']): readonly string[] {
  const limits = [
    ...(maxRowsPerSecond === null ? [] : [`${formatCount(maxRowsPerSecond)} rows/s`]),
    ...(maxBytesPerSecond === null ? [] : [`${formatBytes(maxBytesPerSecond)}/s`]),
  ];
  return [
    ...(paused === true ? ['paused: crossfade resume lets it go on'] : []),
    ...(limits.length > 0 ? [`limited to ${limits.join(' and ')}`] : []),
    ...refused.map(({ error }) => `refused: ${error}`),
  ];
}

export function describeLag(lag: StatusResult['lag']): string {
  if (!lag.known || lag.bytes === null) return 'unknown';
  return `${formatBytes(lag.bytes)}, ${lag.seconds === null ? 'unknown time' : formatDuration(lag.seconds)}`;
}

function shownPair({ from, to, target }: StatusResult['tables'][number]): string {
  if (target !== undefined) return `${from} → ${target}: ${to}`;
  return from === to ? from : `${from} → ${to}`;
}

const ORDER = { held: 0, copying: 1, waiting: 2, following: 3 } as const;

export function renderTables(status: StatusResult, paint: Paint, shown: number = TABLES_SHOWN): string {
  const tables = status.tables.toSorted((a, b) => ORDER[a.phase] - ORDER[b.phase]);
  const colour = { held: paint.red, copying: paint.cyan, waiting: paint.dim, following: paint.green };
  const rows = tables
    .slice(0, shown)
    .map((table) => [
      shownPair(table),
      colour[table.phase](table.phase),
      formatCount(table.rowsCopied),
      `~${formatCount(table.rowsEstimated)}`,
      formatCount(table.changesApplied),
    ]);
  if (rows.length === 0) return '';
  const more = tables.length > shown ? `  … and ${tables.length - shown} more\n` : '';
  return (
    renderTable(
      ['  table', 'phase', 'copied', 'estimated', 'changes'],
      rows.map(([name = '', ...rest]) => [`  ${name}`, ...rest]),
      [2, 3, 4],
    ) + more
  );
}
