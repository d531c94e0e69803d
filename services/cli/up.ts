/** `up`: everything in one process until stopped. SIGTERM drains and exits 0; --until caught-up ends by itself. */
import { PipelineError } from '#schemas/errors.ts';
import { requireReady } from './check/require-ready.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { httpOptions, readHttpOptions } from './http-options.ts';
import { loadSignedWhole, planOption, tellChanges } from './plan/signed-plan.ts';
import { createProgressOutput, describeLag } from './progress-view.ts';
import { isFault } from './service.ts';
import type { RunUp, UpResult } from './up-port.ts';

export const upCommand: CommandSpec = {
  name: 'up',
  about: 'Copy, then follow, until stopped. Start it again after any end: it goes on where the target stands.',
  examples: [
    ['crossfade up', 'until Ctrl-C or SIGTERM, which drain'],
    ['crossfade up --until caught-up', 'end with 0 once everything is copied and a marker written after that is applied'],
    ['crossfade up --plan plan.json', 'only while file and databases give the plan that was signed'],
    ['crossfade up --port 0', 'any free port for HTTP; it is kept in the data directory'],
  ],
  configure: (command) => {
    command.option('--until <what>', 'caught-up: end once the copy is complete and what is written on the side that serves is applied');
    command.option(
      '--reverse-anew',
      'begin the way back anew where it lost its place while the target serves (CF-8203); then verify, and repair',
    );
    httpOptions(command);
    planOption(command);
  },
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const http = readHttpOptions(context.options);
  const until = readUntil(context.options.text('until'));
  const input = await loadSignedWhole(context);
  const output = createProgressOutput(context.io.stderr, context.paint, context.log);
  try {
    await requireReady(input, context);
    const runUp = await loadRunUp();
    const ended = await runUp({
      ...input,
      ...http,
      signal: context.signal,
      logger: context.log,
      environment: context.io.environment,
      onProgress: (progress) => output.show(progress),
      startRollback: async (reason) => (await import('./flip/roll-back.ts')).rollBack(input.file, context, reason),
      prove: async (signal) => (await import('./prove-now.ts')).proveNow(input, { log: context.log, signal }),
      ...(until !== undefined && { until }),
      reverseAnew: context.options.flag('reverseAnew'),
    });
    // Exit 0 says that it is caught up: a script that waits for that must not take a stop for it.
    if (until !== undefined && ended.reason !== until) throw stopRequest(context.signal);
    return outcomeOf(input.file.name, ended);
  } catch (error) {
    if (!context.signal.aborted || until !== undefined || isFault(error)) throw await tellChanges(error, input);
    return { summary: `${input.file.name} stopped before it had started`, result: null };
  } finally {
    output.end();
  }
}

function outcomeOf(name: string, { reason, status }: UpResult): Outcome {
  const summary =
    reason === 'caught-up' ? `${name} is caught up${describeCaughtUp(status)}` : `${name} stopped; lag ${describeLag(status.lag)}`;
  return { summary, result: status };
}

/** What the side that does not serve has of the other one. */
function describeCaughtUp({ serves, reverse, applied }: UpResult['status']): string {
  if (serves !== 'target') return ` at ${applied.lsn ?? 'an unknown LSN'}`;
  return reverse === undefined
    ? ': the target serves, and nothing leads back'
    : `: the target serves, and the source has what was written there up to ${reverse.appliedLsn ?? 'an unknown LSN'}`;
}

function stopRequest(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DOMException('stopped', 'AbortError');
}

async function loadRunUp(): Promise<RunUp> {
  // Loaded late: it brings every service and adapter with it.
  const { runUp } = await import('#services/up/up.ts');
  return runUp;
}

function readUntil(value: string | undefined): 'caught-up' | undefined {
  if (value === undefined || value === 'caught-up') return value;
  throw new PipelineError('CF-1007', `--until knows only caught-up, not ${JSON.stringify(value)}`);
}
