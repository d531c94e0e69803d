/**
 * `crossfade up`, or one service, as a child process, for the demo, the bench and the proofs. Guarantee: the child is reached only through
 * what an operator has (its files, signals and HTTP), and no child outlives this object or this process, however that ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { extname, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unwatch, watch } from '../local-postgres/watchdog.ts';

/** Entry of the command line; runs without a build step. */
export const CLI: string = join(import.meta.dirname, '..', '..', 'cli', `main${extname(import.meta.filename)}`);

/** What a process is started with: a test run has the same in one file, which loads in half the time. */
export function entryPoint(): string {
  return process.env['CROSSFADE_TEST_CLI'] ?? CLI;
}

export interface PipelineOptions {
  /** The migration file. */
  readonly file: string;
  readonly dataDir: string;
  /** Everything the process prints is appended here. */
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** `up` when absent. */
  readonly command?: string;
  /** Further arguments of the command. */
  readonly args?: readonly string[];
  /** Flags for node itself. */
  readonly nodeArgs?: readonly string[];
}

/** `status --json` → result, as far as it is used here (design §12). */
export interface PipelineStatus {
  readonly phase: string;
  readonly tables: readonly TableStatus[];
  readonly lag: { readonly bytes: number | null; readonly seconds: number | null; readonly known: boolean };
  readonly applied: { readonly lsn: string | null; readonly exact: boolean };
  readonly restarts: number;
  /** Where the file names its targets. */
  readonly targets?: readonly {
    readonly name: string;
    readonly connected: boolean | null;
    readonly applied: { readonly lsn: string | null };
  }[];
  /** While a way back is wanted. */
  readonly reverse?: unknown;
}

/** The copy is complete, and the target follows; `verify` has found it equal or not. */
export function isFollowing({ phase }: Pick<PipelineStatus, 'phase'>): boolean {
  return phase === 'following' || phase === 'verified';
}

export interface TableStatus {
  readonly from: string;
  readonly to: string;
  readonly phase: 'waiting' | 'copying' | 'following' | 'held';
  readonly rowsCopied: number;
  readonly rowsEstimated: number;
  readonly changesApplied: number;
  readonly error?: string;
  readonly target?: string;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const POLL_MS = 25;
const STOP_TIMEOUT_MS = 30_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Pipeline implements AsyncDisposable {
  readonly startedAt: number = Date.now();
  readonly #child: ChildProcess;
  readonly #options: PipelineOptions;
  readonly #ended: Promise<Ended>;
  #result: Ended | undefined;

  private constructor(child: ChildProcess, options: PipelineOptions) {
    this.#child = child;
    this.#options = options;
    running.add(child);
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      running.delete(child);
      if (child.pid !== undefined) unwatch({ pid: child.pid });
      return (this.#result = { code: code as number | null, signal: signal as NodeJS.Signals | null });
    });
  }

  static start(options: PipelineOptions): Pipeline {
    mkdirSync(dirname(options.logFile), { recursive: true });
    const log = openSync(options.logFile, 'a');
    const args = [
      ...(options.nodeArgs ?? []),
      entryPoint(),
      options.command ?? 'up',
      '-f',
      options.file,
      '--data',
      options.dataDir,
      '--port',
      '0',
      ...(options.args ?? []),
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', log, log], env: { ...process.env, ...options.env } });
    closeSync(log);
    if (child.pid !== undefined) watch({ pid: child.pid });
    return new Pipeline(child, options);
  }

  get command(): string {
    return this.#options.command ?? 'up';
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Undefined while it runs. */
  get result(): Ended | undefined {
    return this.#result;
  }

  async ended(): Promise<Ended> {
    return await this.#ended;
  }

  /** Its own answer over HTTP; undefined while it does not answer (not up yet, or gone). */
  async status(): Promise<PipelineStatus | undefined> {
    const answer = await this.request('GET', '/v1/status');
    if (answer === undefined) return undefined;
    const body = answer as { readonly result?: PipelineStatus };
    return body.result ?? (answer as PipelineStatus);
  }

  /** Where it answers, and to whom; undefined while it is not up. */
  get address(): { readonly url: string; readonly token: string } | undefined {
    const instance = readInstance(this.#options.dataDir);
    return instance?.pid === this.pid && this.#result === undefined ? instance : undefined;
  }

  async request(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
    const instance = this.address;
    if (instance === undefined) return undefined;
    try {
      const response = await fetch(new URL(path, instance.url), {
        method,
        headers: { authorization: `Bearer ${instance.token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(5_000),
      });
      return response.ok ? await response.json() : undefined;
    } catch {
      return undefined;
    }
  }

  /** @throws Error with the log's tail when the process ends first or the time is over. */
  async waitFor(
    done: (status: PipelineStatus) => boolean,
    options: { readonly what: string; readonly timeoutMs: number },
  ): Promise<PipelineStatus> {
    const deadline = Date.now() + options.timeoutMs;
    for (;;) {
      if (this.#result !== undefined)
        throw new Error(`crossfade ${this.command} ended (${describeEnd(this.#result)}) before it was ${options.what}\n${this.logTail()}`);
      const status = await this.status();
      if (status !== undefined && done(status)) return status;
      if (Date.now() > deadline)
        throw new Error(`crossfade ${this.command} was not ${options.what} within ${options.timeoutMs / 1000} s\n${this.logTail()}`);
      await delay(POLL_MS);
    }
  }

  /** SIGKILL: nothing of it runs on. */
  async kill(): Promise<Ended> {
    this.#child.kill('SIGKILL');
    return await this.#ended;
  }

  /** SIGSTOP: it holds what it holds, and does nothing. */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  /** SIGCONT: a zombie wakes up. */
  resume(): void {
    this.#child.kill('SIGCONT');
  }

  /** SIGTERM; SIGKILL when it does not drain in time. */
  async stop(): Promise<Ended> {
    if (this.#result !== undefined) return this.#result;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    try {
      return await this.#ended;
    } finally {
      clearTimeout(timer);
    }
  }

  logTail(lines = 15): string {
    return tail(this.#options.logFile, lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#result === undefined) await this.kill();
  }
}

interface Instance {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
}

/** Written by `up`, kept by a killed one: the caller compares the pid. */
function readInstance(dataDir: string): Instance | undefined {
  try {
    return JSON.parse(readFileSync(join(dataDir, 'instance.json'), 'utf8')) as Instance;
  } catch {
    return undefined;
  }
}

export function tail(file: string, lines: number): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}

export function describeEnd(end: Ended): string {
  return end.signal === null ? `exit code ${end.code}` : end.signal;
}
