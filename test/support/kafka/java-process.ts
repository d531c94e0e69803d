/**
 * One Java server of a test. Guarantee: it ends with `kill` or `stop`, and at the latest with this process, however that ends; its log
 * and data lie in a temporary directory that goes with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { newDirectory } from '#services/demo/local-postgres/run-as.ts';
import { unwatch, watch } from '#services/demo/local-postgres/watchdog.ts';
import { javaCommand } from './jars.ts';

const POLL_MS = 50;
const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL = 4000;

/** The tests want a server that is up soon and small; none of them lives long enough for the optimising compiler. */
const JVM_FLAGS = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xms48m', '-Xss512k', '-XX:-UsePerfData'];

const LOG_CONFIGURATION = `appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.c.ref=c
`;

export interface JavaOptions {
  readonly name: string;
  readonly heapMb: number;
  /** Class path and main class, or `-jar …`, and the program's arguments. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Of the JVM, in place of ours for a small and short-lived server. */
  readonly jvmFlags?: readonly string[];
}

export class JavaProcess implements AsyncDisposable {
  readonly directory: string;
  readonly #name: string;
  #child: ChildProcess | undefined;

  constructor(name: string) {
    this.#name = name;
    this.directory = newDirectory(`crossfade-${name}-`, undefined);
    watch({ directory: this.directory });
    writeFileSync(join(this.directory, 'log4j2.properties'), LOG_CONFIGURATION);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get #logFile(): string {
    return join(this.directory, 'log');
  }

  /** What it has logged so far. */
  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
  }

  async spawn({ heapMb, args, env, jvmFlags = JVM_FLAGS }: Omit<JavaOptions, 'name'>): Promise<void> {
    if (this.#child !== undefined) throw new Error(`this ${this.#name} is running already`);
    const log = openSync(this.#logFile, 'a');
    const flags = [...jvmFlags, `-Xmx${heapMb}m`, `-Dlog4j2.configurationFile=${join(this.directory, 'log4j2.properties')}`];
    const child = spawn(javaCommand(), [...flags, ...args], {
      cwd: this.directory,
      detached: true, // Ctrl-C in a terminal is for us: we stop the server when we are done with it
      stdio: ['ignore', log, log],
      env: { ...process.env, TZ: 'UTC', ...env },
    });
    closeSync(log);
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    this.#child = child;
    child.once('exit', () => {
      unwatch({ pid });
      if (this.#child === child) this.#child = undefined;
    });
    watch({ pid });
    child.unref(); // a forgotten server must not keep this process alive
  }

  /** @throws with the log's end when the process ends first or the time is over. */
  async until(ready: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!(await ready())) {
      const ended = this.#child === undefined;
      if (ended || Date.now() > deadline) {
        const why = ended ? 'ended' : `was not ready in ${timeoutMs} ms`;
        throw new Error(`${this.#name} ${why}:\n${this.log().slice(-LOG_TAIL)}`);
      }
      await delay(POLL_MS);
    }
  }

  /** SIGTERM; SIGKILL when it takes too long. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await endOf(child, 'SIGTERM');
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    if (this.#child !== undefined) await endOf(this.#child, 'SIGKILL');
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill(); // nobody will read a temporary server again
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
    unwatch({ directory: this.directory });
  }
}

async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}
