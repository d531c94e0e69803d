/**
 * The command line for tests: in this process with a screen in memory, or as a child process as an operator runs it. Guarantee: a
 * child never outlives the call.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { Envelope } from '#schemas/envelope.ts';
import type { CliIo, Screen } from '#services/cli/command.ts';
import { runCli } from '#services/cli/run-cli.ts';

export interface CommandRun {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly directory?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly terminal?: boolean;
}

export async function runInProcess(args: readonly string[], options: RunOptions = {}): Promise<CommandRun> {
  const out: string[] = [];
  const err: string[] = [];
  const screen = (lines: string[]): Screen => ({
    write: (text) => void lines.push(text),
    isTerminal: options.terminal ?? false,
    columns: 100,
  });
  const io: CliIo = {
    environment: options.environment ?? {},
    directory: options.directory ?? process.cwd(),
    stdout: screen(out),
    stderr: screen(err),
  };
  const exitCode = await runCli(args, io, new AbortController().signal);
  return { exitCode, stdout: out.join(''), stderr: err.join('') };
}

export const MAIN: string = join(import.meta.dirname, '..', '..', 'services', 'cli', 'main.ts');
const CHILD_TIMEOUT_MS = 60_000;

export async function runChild(args: readonly string[], options: RunOptions = {}): Promise<CommandRun> {
  return new Promise((resolve, reject) => {
    const settings = {
      cwd: options.directory ?? process.cwd(),
      env: { ...process.env, ...options.environment },
      timeout: CHILD_TIMEOUT_MS,
      maxBuffer: 64 * 1024 * 1024,
    };
    execFile(process.execPath, [MAIN, ...args], settings, (error, stdout, stderr) => {
      const code: unknown = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ exitCode: code, stdout, stderr });
      else reject(new Error(`crossfade ${args.join(' ')} did not exit by itself: ${error?.message}\n${stderr}`));
    });
  });
}

/** The one object on stdout; throws when there is anything else. */
export function envelopeOf(run: CommandRun): Envelope {
  return JSON.parse(run.stdout) as Envelope;
}
