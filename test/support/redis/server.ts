/** A Redis of a test's own. Guarantee: empty at the start, gone with `await using`; a binary's server also with the process that made it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { GenericContainer, Wait } from 'testcontainers';
import { ServerContainer } from '#test/support/kafka/container.ts';
import { freePort } from '#test/support/kafka/ports.ts';
import { REDIS_IMAGE, redisProvider } from './provider.ts';

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 20;

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** For the test's own look at it. */
  readonly client: Redis;
}

const STARTS_MAX = 5;

/** A port that is taken between the look and the start, or whose neighbour for a cluster's own talk is, is passed over. */
export async function startRedis(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(settings);
    } catch (error) {
      if (attempt === STARTS_MAX || !(error instanceof EndedByItself)) throw error;
    }
  }
}

class EndedByItself extends Error {
  override readonly name = 'EndedByItself';
}

/** `settings`: as on redis-server's command line, without the two hyphens. */
async function startOnce(settings: Readonly<Record<string, string>>): Promise<RedisServer> {
  await using stack = new AsyncDisposableStack();
  const provider = await redisProvider();
  if (provider === undefined) throw new Error('no Redis can be had: see describeWithRedis');
  const args = Object.entries({ appendonly: 'yes', save: '', ...settings }).flatMap(([name, value]) => [`--${name}`, value]);
  const port = await freePort();
  const host = provider.kind === 'docker' ? await stack.use(new ContainerRedis()).start(port, args) : '127.0.0.1';
  const server = provider.kind === 'binary' ? stack.use(new ProcessRedis(provider.path, port, args)) : undefined;
  const password = settings['requirepass'];
  const client = new Redis({ host, port, protocol: 2, retryStrategy: () => POLL_MS, ...(password !== undefined && { password }) });
  client.on('error', () => undefined);
  stack.defer(() => client.disconnect());
  const deadline = Date.now() + START_TIMEOUT_MS;
  while ((await client.ping().catch(() => '')) !== 'PONG') {
    if (server?.hasEnded === true) throw new EndedByItself(`redis-server on port ${port} ended by itself`);
    if (Date.now() > deadline) throw new Error(`Redis was not ready in ${START_TIMEOUT_MS} ms`);
    await delay(POLL_MS);
  }
  const kept = stack.move();
  const secret = password === undefined ? '' : `:${password}@`;
  return { url: `redis://${secret}${host}:${port}/0`, port, client, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
}

class ContainerRedis implements AsyncDisposable {
  #container: ServerContainer | undefined;

  async start(port: number, args: readonly string[]): Promise<string> {
    const { containerHost } = await import('#test/support/kafka/container.ts');
    this.#container = await ServerContainer.start(
      new GenericContainer(REDIS_IMAGE)
        .withCommand(['redis-server', '--port', String(port), ...args])
        .withExposedPorts({ container: port, host: port })
        .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
        .withStartupTimeout(START_TIMEOUT_MS),
    );
    return containerHost();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#container?.[Symbol.asyncDispose]();
  }
}

class ProcessRedis implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #directory = mkdtempSync(join(tmpdir(), 'crossfade-redis-'));
  readonly #onExit = (): void => void this.#process.kill('SIGKILL');

  constructor(path: string, port: number, args: readonly string[]) {
    this.#process = spawn(path, ['--port', String(port), '--bind', '127.0.0.1', '--dir', this.#directory, ...args], { stdio: 'ignore' });
    process.once('exit', this.#onExit);
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.removeListener('exit', this.#onExit);
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode === null && this.#process.kill('SIGKILL')) await ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
