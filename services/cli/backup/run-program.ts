/**
 * A program that is waited for. Guarantee: it ends in time, with all that it has started, or is ended; of what it says only the beginning is kept, but for what it is
 * asked to print.
 */
import { spawn } from 'node:child_process';
import { messageOf } from '#schemas/errors.ts';

export interface ProgramOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface ProgramRun {
  /** Exit 0, in time. */
  readonly ok: boolean;
  /** How it ended, with the beginning of what it said, on one line. */
  readonly said: string;
  readonly printed: string;
  readonly ms: number;
}

const SAID_MAX = 500;
/** The list of contents of a dump with 100,000 tables. */
const PRINTED_MAX = 32 * 2 ** 20;

export async function runProgram(command: readonly string[], { environment, timeoutMs, signal }: ProgramOptions): Promise<ProgramRun> {
  const [program = '', ...args] = command;
  const began = performance.now();
  const { promise, resolve } = Promise.withResolvers<Pick<ProgramRun, 'ok' | 'said'>>();
  // In a group of its own: what a shell has started ends with it.
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment, detached: true });
  const printed: Buffer[] = [];
  let printedBytes = 0;
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (printedBytes < PRINTED_MAX) printed.push(chunk);
    printedBytes += chunk.length;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < SAID_MAX) said += chunk.toString('utf8');
  });
  let ended = '';
  const end = (why: string): void => {
    ended ||= why;
    if (child.pid !== undefined) killGroup(child.pid);
  };
  const stop = (): void => end('stopped');
  const timer = setTimeout(() => end(`ended after ${timeoutMs} ms`), timeoutMs);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  child.once('error', (error) => resolve({ ok: false, said: `cannot be run: ${messageOf(error)}` }));
  child.once('close', (code, by) => {
    const how = ended || (code === null ? `ended by ${by ?? 'a signal'}` : `exit ${code}`);
    const line = said.trim().replaceAll(/\s+/g, ' ').slice(0, SAID_MAX);
    resolve({ ok: code === 0 && ended === '', said: line === '' ? how : `${how}: ${line}` });
  });
  try {
    const result = await promise;
    return { ...result, printed: Buffer.concat(printed).toString('utf8'), ms: Math.round(performance.now() - began) };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Gone by itself.
  }
}
