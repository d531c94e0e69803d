import { expect, test } from 'vitest';
import { type StatusResult, UNKNOWN_COPY } from '#schemas/status/status-result.ts';
import { createPaint } from '#services/cli/paint.ts';
import { createProgressOutput, ProgressMeter, renderProgress } from '#services/cli/progress-view.ts';
import { silentLogger } from '#services/runtime/service.ts';

/** As the terminal gets it. */
const ESC = '\u001b';

function statusWith(rowsCopied: number, changes: Partial<StatusResult> = {}): StatusResult {
  return {
    name: 'shop',
    phase: 'copying',
    tables: [{ from: 'public.a', to: 'public.a', phase: 'copying', rowsCopied, rowsEstimated: 10_000, changesApplied: 0 }],
    lag: { bytes: null, seconds: null, known: false },
    source: { lsn: '0/10', slot: { retainedBytes: 0, status: 'reserved' } },
    applied: { lsn: null, exact: false },
    copy: UNKNOWN_COPY,
    restarts: 0,
    deadLetters: 0,
    drift: null,
    plan: null,
    ...changes,
  };
}

test('no rate and no time left from a single look', () => {
  expect(new ProgressMeter().push(statusWith(500), 1_000)).toMatchObject({ rowsPerSecond: undefined, secondsLeft: undefined });
});

test('the time left is what is left over the rate of the last half minute', () => {
  const meter = new ProgressMeter();
  meter.push(statusWith(0), 0);
  meter.push(statusWith(5_000), 1_000); // a burst long ago counts no more
  for (let at = 2_000; at <= 40_000; at += 1_000) meter.push(statusWith(5_000 + (at - 1_000) / 100), at);
  const progress = meter.push(statusWith(5_400), 41_000);
  expect(progress.rowsPerSecond).toBeCloseTo(10, 0);
  expect(progress.secondsLeft).toBeCloseTo(460, -1);
});

test('no time left is told when nothing moves, or when there are more rows than estimated', () => {
  const still = new ProgressMeter();
  still.push(statusWith(100), 0);
  expect(still.push(statusWith(100), 10_000).secondsLeft).toBeUndefined();
  const more = new ProgressMeter();
  more.push(statusWith(10_001), 0);
  expect(more.push(statusWith(12_000), 10_000).secondsLeft).toBeUndefined();
});

test('unknown lag is shown as unknown, a held table with its cause', () => {
  const held = {
    from: 'public.b',
    to: 'public.b',
    phase: 'held' as const,
    rowsCopied: 1,
    rowsEstimated: 1,
    changesApplied: 0,
    error: 'null value in column "x"',
  };
  const meter = new ProgressMeter();
  const text = renderProgress(meter.push(statusWith(1, { tables: [held] }), 0), createPaint(false));
  expect(text).toContain('lag      unknown');
  expect(text).toContain('public.b: null value in column "x"');
});

test('off a terminal there is one log line every ten seconds, on a terminal the picture is redrawn in place', () => {
  const lines: string[] = [];
  let nowMs = 0;
  const log = { ...silentLogger, info: (_details: unknown, message: string) => void lines.push(message) };
  const plain = createProgressOutput({ write: () => undefined, isTerminal: false, columns: 80 }, createPaint(false), log, () => nowMs);
  for (; nowMs < 25_000; nowMs += 1_000) plain.show(statusWith(nowMs));
  expect(lines).toHaveLength(3);
  const written: string[] = [];
  const screen = createProgressOutput(
    { write: (text) => void written.push(text), isTerminal: true, columns: 80 },
    createPaint(false),
    log,
    () => nowMs,
  );
  screen.show(statusWith(1));
  screen.show(statusWith(2));
  expect(written[0]).not.toContain(ESC);
  expect(written[1]).toMatch(new RegExp(`^${ESC}\\[\\d+F${ESC}\\[J`));
});

test('a pause, limits and refused requests are shown; a copy that runs as the file says is not', () => {
  const shown = (copy: StatusResult['copy']): string =>
    renderProgress(new ProgressMeter().push(statusWith(1, { copy }), 0), createPaint(false));
  const asFile = { paused: false, maxRowsPerSecond: null, maxBytesPerSecond: null, refused: [] };
  expect(shown(asFile)).not.toMatch(/^ {2}copy /m);
  expect(shown(UNKNOWN_COPY)).not.toMatch(/^ {2}copy /m);
  const set = shown({
    paused: true,
    maxRowsPerSecond: 20,
    maxBytesPerSecond: 1024,
    refused: [{ table: 'public.a', error: 'no such key' }],
  });
  expect(set).toContain('copy     paused');
  expect(set).toContain('copy     limited to 20 rows/s and 1.0 KiB/s');
  expect(set).toContain('copy     refused: no such key');
});
