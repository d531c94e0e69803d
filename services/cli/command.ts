/**
 * What every command file exports and gets. Guarantee: a command never writes to stdout or exits by itself; it returns an outcome or
 * throws, and run-cli.ts turns either into the one envelope, the human text and the exit code.
 */
import type { Command } from 'commander';
import type { Finding, PipelineError } from '#schemas/errors.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { Options } from './options.ts';
import type { Paint } from './paint.ts';

/** The process as the command line sees it; tests give their own. */
export interface CliIo {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly stdout: Screen;
  readonly stderr: Screen;
}

export interface Screen {
  write(text: string): void;
  readonly isTerminal: boolean;
  readonly columns: number;
}

/** Options that every command has. */
export interface CommonOptions {
  /** Absolute, or as typed; undefined = the default name in the working directory. */
  readonly file?: string;
  readonly data?: string;
  /** Of a file that moves in waves the one to act on. */
  readonly wave?: string;
  readonly json: boolean;
}

export interface CommandContext {
  readonly io: CliIo;
  readonly common: CommonOptions;
  readonly options: Options;
  readonly args: readonly string[];
  readonly log: Logger;
  /** Fires at the first SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  readonly paint: Paint;
  /** The whole command line, for what describes it. */
  readonly program: Command;
}

export interface Outcome {
  /** One sentence. */
  readonly summary: string;
  readonly result: unknown;
  readonly findings?: readonly Finding[];
  /** Set when the command did its work and the answer is "no": drift, a closed gate, findings of severity error. */
  readonly error?: PipelineError;
  /** What a person sees in place of the JSON; the findings and the summary are printed by run-cli. */
  readonly text?: string;
}

export interface CommandSpec {
  readonly name: string;
  readonly about: string;
  /** Command lines with what they do, for --help. */
  readonly examples: readonly (readonly [line: string, about: string])[];
  /** Arguments and options beyond the common ones. */
  configure?(command: Command): void;
  /** It ends by itself, in good order, once the signal fires; any other command is left where it stands. */
  readonly drains?: boolean;
  run(context: CommandContext): Promise<Outcome>;
}
