/**
 * One container of a test. Guarantee: it can be killed, paused and started again with its data, which testcontainers itself does not
 * offer; it is removed at the end, and at the latest with this process.
 */
import { type GenericContainer, getContainerRuntimeClient } from 'testcontainers';
import { watchContainer } from './container-watchdog.ts';

const STOP_TIMEOUT_S = 20;

type Container = ReturnType<Awaited<ReturnType<typeof getContainerRuntimeClient>>['container']['getById']>;

/** Where published ports are reached: not localhost where the tests run in a container themselves. */
export async function containerHost(): Promise<string> {
  return (await getContainerRuntimeClient()).info.containerRuntime.host;
}

export class ServerContainer implements AsyncDisposable {
  readonly #container: Container;

  private constructor(container: Container) {
    this.#container = container;
  }

  static async start(definition: GenericContainer): Promise<ServerContainer> {
    const client = await getContainerRuntimeClient();
    const started = await definition.start();
    watchContainer(started.getId(), true);
    return new ServerContainer(client.container.getById(started.getId()));
  }

  async kill(): Promise<void> {
    await this.#container.kill({ signal: 'SIGKILL' });
    await this.#container.wait();
  }

  async pause(): Promise<void> {
    await this.#container.pause();
  }

  async resume(): Promise<void> {
    await this.#container.unpause();
  }

  async stop(): Promise<void> {
    await this.#container.stop({ t: STOP_TIMEOUT_S });
  }

  async startAgain(): Promise<void> {
    await this.#container.start();
  }

  async log(): Promise<string> {
    return unframed(await this.#container.logs({ stdout: true, stderr: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#container.remove({ force: true, v: true });
    watchContainer(this.#container.id, false);
  }
}

/** Docker's log stream: per piece a head of eight bytes, which ends with the piece's length. */
function unframed(stream: Buffer): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 8 <= stream.length;) {
    const end = at + 8 + stream.readUInt32BE(at + 4);
    pieces.push(stream.subarray(at + 8, end));
    at = end;
  }
  return Buffer.concat(pieces).toString('utf8');
}
