/**
 * One command line, from argument list to exit code. Guarantee: with --json stdout holds exactly one envelope whatever happened (also
 * for a wrong option or a bug of ours), and the exit code is the catalogue's (design §12).
 */
import { constants } from 'node:os';
import { type Command, CommanderError } from 'commander';
import { type Envelope, envelopeError, envelopeFinding, toPipelineError } from '#schemas/envelope.ts';
import { catalogue } from '#schemas/error-catalogue.ts';
import { PipelineError } from '#schemas/errors.ts';
import { createLogger, LOG_LEVELS, type LogLevel, maskSecrets } from '#services/runtime/log.ts';
import type { CliIo, CommandContext, CommandSpec, CommonOptions, Outcome } from './command.ts';
import { COMMANDS, LATER_COMMANDS } from './commands.ts';
import { nearestName } from '#schemas/nearest-name.ts';
import { Options } from './options.ts';
import { createPaint, type Paint, wantsColour } from './paint.ts';
import { buildProgram } from './program.ts';
import { placeOf, renderFindings } from './render.ts';

/** @returns the exit code. `signal` fires when the process is told to stop. */
export async function runCli(argv: readonly string[], io: CliIo, signal: AbortSignal): Promise<number> {
  // Known before parsing: a command line that does not parse must still be answered in the form asked for.
  const json = argv.includes('--json');
  const paint = createPaint(wantsColour(io.stdout.isTerminal, io.environment));
  let chosen: { readonly spec: CommandSpec; readonly command: Command; readonly args: readonly string[] } | undefined;
  const program = buildProgram(io, (spec, command, args) => (chosen = { spec, command, args }));
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0; // --help and --version have printed what was asked for
    return answer(io, paint, { command: commandNameOf(argv), json }, { error: usageError(error, argv, program) });
  }
  if (chosen === undefined) {
    if (!json) {
      io.stderr.write(program.helpInformation());
      return catalogue['CF-1007'].exit;
    }
    const error = new PipelineError('CF-1007', 'no command was given', {
      remedy: `One of: ${COMMANDS.map((spec) => spec.name).join(', ')}; see crossfade --help.`,
    });
    return answer(io, paint, { command: '', json }, { error });
  }
  const { spec, command, args } = chosen;
  const form = { command: spec.name, json };
  try {
    const work = spec.run(contextOf({ program, command, args, io, signal, paint }));
    const outcome = await (spec.drains === true ? work : Promise.race([work, untilAborted(signal)]));
    return answer(io, paint, form, { outcome });
  } catch (error) {
    if (signal.aborted && isAbort(error)) return answerStopped(io, paint, form, signal);
    return answer(io, paint, form, { error: toPipelineError(error), stack: error instanceof PipelineError ? undefined : error });
  }
}

interface Parsed {
  readonly program: Command;
  readonly command: Command;
  readonly args: readonly string[];
  readonly io: CliIo;
  readonly signal: AbortSignal;
  readonly paint: Paint;
}

function contextOf({ program, command, args, io, signal, paint }: Parsed): CommandContext {
  // With those of the program: --json is known there, too, and found there wherever it stands.
  const options = new Options(command.optsWithGlobals());
  const common = commonOptions(options);
  const level = logLevel(options.text('logLevel'), io);
  const human = io.stderr.isTerminal && !common.json;
  return {
    io,
    program,
    common,
    options,
    args,
    signal,
    paint,
    log: createLogger({ level, form: human ? 'human' : 'json', write: (text) => io.stderr.write(text) }),
  };
}

function commonOptions(options: Options): CommonOptions {
  const [file, data, wave] = [options.text('file'), options.text('data'), options.text('wave')];
  return {
    json: options.flag('json'),
    ...(file !== undefined && { file }),
    ...(data !== undefined && { data }),
    ...(wave !== undefined && { wave }),
  };
}

function logLevel(given: string | undefined, io: CliIo): LogLevel {
  const name = given ?? io.environment['CROSSFADE_LOG'] ?? 'info';
  return LOG_LEVELS.find((level) => level === name) ?? 'info';
}

interface Form {
  readonly command: string;
  readonly json: boolean;
}

/** What a command came to: an outcome, or the error that ended it. */
type Ending = { readonly outcome: Outcome } | { readonly error: PipelineError; readonly stack?: unknown };

function answer(io: CliIo, paint: Paint, form: Form, ending: Ending): number {
  const outcome: Outcome =
    'outcome' in ending
      ? ending.outcome
      : { summary: ending.error.message, result: null, error: ending.error, findings: extraFindings(ending.error) };
  if (form.json) io.stdout.write(`${JSON.stringify(envelopeOf(form.command, outcome))}\n`);
  else writeHuman(io, paint, outcome);
  if ('stack' in ending && ending.stack instanceof Error && io.environment['CROSSFADE_LOG'] === 'debug')
    io.stderr.write(`${maskSecrets(ending.stack.stack ?? '')}\n`);
  return outcome.error?.exitCode ?? 0;
}

/** An error that stands for several (a file with three typos) carries them in `details.findings`. */
function extraFindings(error: PipelineError): NonNullable<Outcome['findings']> {
  const findings = error.details['findings'];
  return Array.isArray(findings) ? (findings as NonNullable<Outcome['findings']>) : [];
}

function maskedFindings({ findings = [] }: Outcome): NonNullable<Outcome['findings']> {
  return findings.map((finding) => ({ ...finding, message: maskSecrets(finding.message) }));
}

function envelopeOf(command: string, outcome: Outcome): Envelope {
  const error = outcome.error === undefined ? null : envelopeError(outcome.error);
  return {
    command,
    ok: error === null,
    summary: maskSecrets(outcome.summary),
    result: outcome.result ?? null,
    error: error === null ? null : { ...error, message: maskSecrets(error.message) },
    findings: maskedFindings(outcome).map(envelopeFinding),
  };
}

function writeHuman(io: CliIo, paint: Paint, outcome: Outcome): void {
  if (outcome.text !== undefined && outcome.text !== '') io.stdout.write(outcome.text);
  const findings = maskedFindings(outcome);
  if (findings.length > 0) io.stdout.write(renderFindings(findings, paint));
  if (outcome.error === undefined) {
    if (outcome.summary !== '') io.stdout.write(`${paint.green('✓')} ${maskSecrets(outcome.summary)}\n`);
    return;
  }
  if (findings.length > 0) {
    io.stdout.write(`${paint.red('✗')} ${maskSecrets(outcome.summary)}\n`);
    return;
  }
  const { code, message, remedy, place } = outcome.error;
  const where = place.path === undefined ? '' : ` ${placeOf(place)}`;
  io.stderr.write(
    `${paint.red('✗')} ${code}${where}  ${maskSecrets(message)}\n  ${paint.cyan('→')} ${remedy.replaceAll('\n', '\n    ')}\n`,
  );
}

/** The word that stands where the command should, for the envelope of a command line that does not parse. */
function commandNameOf(argv: readonly string[]): string {
  return argv.find((word) => !word.startsWith('-')) ?? '';
}

function usageError(error: CommanderError, argv: readonly string[], program: Command): PipelineError {
  const message = error.message.replace(/^error: /, '').replace(/\n?\(Did you mean .*\)$/s, '');
  if (error.code === 'commander.unknownCommand') return unknownCommand(commandNameOf(argv));
  const spec = COMMANDS.find((one) => one.name === commandNameOf(argv));
  if (error.code === 'commander.unknownOption')
    return unknownOption(message, program.commands.find((one) => one.name() === spec?.name) ?? program);
  return new PipelineError('CF-1007', message, { remedy: `See crossfade ${spec?.name ?? ''} --help.`.replace('  ', ' ') });
}

function unknownCommand(typed: string): PipelineError {
  if (LATER_COMMANDS.includes(typed)) {
    return new PipelineError('CF-7005', `crossfade ${typed} is not in this version`, {
      remedy: `This version has: ${COMMANDS.map((spec) => spec.name).join(', ')}.`,
    });
  }
  const nearest = nearestName(
    typed,
    COMMANDS.map((spec) => spec.name),
  );
  const remedy = nearest === undefined ? 'See crossfade --help for the commands.' : `Did you mean crossfade ${nearest}?`;
  return new PipelineError('CF-1007', `there is no command ${JSON.stringify(typed)}`, { remedy });
}

function unknownOption(message: string, command: Command): PipelineError {
  const typed = /'(--?[^']*)'/.exec(message)?.[1] ?? '';
  const nearest = nearestName(typed, [...command.options.map((option) => option.long ?? ''), '--help']);
  const help = command.parent === null ? 'See crossfade --help.' : `See crossfade ${command.name()} --help.`;
  return new PipelineError('CF-1007', message, { remedy: nearest === undefined ? help : `Did you mean ${nearest}? ${help}` });
}

/** Rejects when the signal fires. */
async function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'StopRequest');
}

/** The command was ended before its answer: 128 + the signal's number, as a shell would tell of a process that it killed. */
function answerStopped(io: CliIo, paint: Paint, form: Form, signal: AbortSignal): number {
  const reason: unknown = signal.reason;
  const name = reason instanceof Error && reason.message in constants.signals ? (reason.message as NodeJS.Signals) : 'SIGTERM';
  const error = new PipelineError('CF-7006', `stopped by ${name} before it was done`);
  answer(io, paint, form, { error });
  return 128 + constants.signals[name];
}
