/** `up`: everything in one process until stopped. SIGTERM drains and exits 0; --until caught-up ends by itself. */
import { PipelineError } from '#schemas/errors.ts';
import { runPreflight } from './check/run-preflight.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadMigration, type MigrationInput } from './migration-input.ts';
import { createProgressOutput, describeLag } from './progress-view.ts';
import type { RunUp, UpResult } from './up-port.ts';

const DEFAULT_PORT = 7400;
const LOOPBACK = '127.0.0.1';

export const upCommand: CommandSpec = {
  name: 'up',
  about: 'Copy, then follow, until stopped. Start it again after any end: it goes on where the target stands.',
  examples: [
    ['crossfade up', 'until Ctrl-C or SIGTERM, which drain'],
    ['crossfade up --until caught-up', 'end with 0 once everything is copied and a marker written after that is applied'],
    ['crossfade up --port 0', 'any free port for HTTP; it is kept in the data directory'],
  ],
  configure: (command) =>
    void command
      .option('--until <what>', 'caught-up: end once the copy is complete and the changes are applied')
      .option('--port <n>', 'HTTP port', String(DEFAULT_PORT))
      .option('--host <address>', 'HTTP address', LOOPBACK),
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const port = readPort(context.options.text('port'));
  const until = readUntil(context.options.text('until'));
  const input = await loadMigration(context);
  const output = createProgressOutput(context.io.stderr, context.paint, context.log);
  try {
    await preflight(context, input);
    const runUp = await loadRunUp();
    const ended = await runUp({
      ...input,
      port,
      host: context.options.text('host') ?? LOOPBACK,
      signal: context.signal,
      logger: context.log,
      environment: context.io.environment,
      onProgress: (progress) => output.show(progress),
      ...(until !== undefined && { until }),
    });
    // Exit 0 says that it is caught up: a script that waits for that must not take a stop for it.
    if (until !== undefined && ended.reason !== until) throw stopRequest(context.signal);
    return outcomeOf(input.file.name, ended);
  } catch (error) {
    if (!context.signal.aborted || until !== undefined || isFault(error)) throw error;
    return { summary: `${input.file.name} stopped before it had started`, result: null };
  } finally {
    output.end();
  }
}

function outcomeOf(name: string, { reason, status }: UpResult): Outcome {
  const summary =
    reason === 'caught-up'
      ? `${name} is caught up at ${status.applied.lsn ?? 'an unknown LSN'}`
      : `${name} stopped; lag ${describeLag(status.lag)}`;
  return { summary, result: status };
}

function stopRequest(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DOMException('stopped', 'AbortError');
}

/** A stop while starting comes as an abort, or as CF-7002 of what was under way; anything else is a failure even then. */
function isFault(error: unknown): boolean {
  return error instanceof PipelineError
    ? error.code !== 'CF-7002'
    : !(error instanceof Error && ['AbortError', 'StopRequest'].includes(error.name));
}

/** Errors stop it before anything is created; warnings are logged. */
async function preflight(context: CommandContext, { file, dataDir }: MigrationInput): Promise<void> {
  const report = await runPreflight(file, dataDir);
  context.signal.throwIfAborted();
  for (const finding of report.findings) {
    if (finding.severity === 'warning') context.log.warn({ code: finding.code, remedy: finding.remedy }, finding.message);
  }
  if (report.error === undefined) return;
  const errors = report.findings.filter((finding) => finding.severity === 'error');
  throw new PipelineError(report.error.code, report.error.message, {
    ...report.error.place,
    remedy: report.error.remedy,
    details: { findings: errors },
  });
}

async function loadRunUp(): Promise<RunUp> {
  // Loaded late: it brings every service and adapter with it.
  const { runUp } = await import('#services/up/up.ts');
  return runUp;
}

function readPort(text = String(DEFAULT_PORT)): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new PipelineError('CF-1007', `--port is not a port: ${JSON.stringify(text)}`, {
    remedy: 'A number from 0 (any free port) to 65535.',
  });
}

function readUntil(value: string | undefined): 'caught-up' | undefined {
  if (value === undefined || value === 'caught-up') return value;
  throw new PipelineError('CF-1007', `--until knows only caught-up, not ${JSON.stringify(value)}`);
}
