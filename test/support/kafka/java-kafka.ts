/** A broker from Maven's jars. Guarantee: `start` resolves when its group coordinator answers; it keeps its data and ports over stop, kill and start. */
import { execFile } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { filled, jarsOf, javaCommand } from './jars.ts';
import { JavaProcess } from './java-process.ts';
import type { Kafka } from './kafka.ts';
import { freePort } from './ports.ts';
import { groupCoordinatorAnswers } from './readiness.ts';
import { formatArguments, type KafkaOptions, type Place, serverProperties } from './server-properties.ts';

const run = promisify(execFile);
const START_TIMEOUT_MS = 60_000;
const START_ATTEMPTS = 5; // a free port can be taken between the look and the start
const HEAP_MB = 384;

export async function startJavaKafka(options: KafkaOptions): Promise<JavaKafka> {
  const broker = new JavaKafka(options, await jarsOf('broker'));
  try {
    await broker.create();
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
  return broker;
}

export class JavaKafka implements Kafka {
  readonly provider = 'java';
  readonly #options: KafkaOptions;
  readonly #libs: string;
  readonly #process = new JavaProcess('kafka');
  #ports: Readonly<Record<string, number>> = {};

  constructor(options: KafkaOptions, libs: string) {
    this.#options = options;
    this.#libs = libs;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get brokers(): string[] {
    return [this.listener('PLAINTEXT')];
  }

  listener(name: string): string {
    return `127.0.0.1:${this.#ports[name]}`;
  }

  async create(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.#configure();
      if (attempt === 1) await this.#format();
      try {
        await this.start();
        return;
      } catch (error) {
        const taken = this.log().includes('Address already in use');
        await this.kill();
        if (!taken || attempt === START_ATTEMPTS) throw error;
      }
    }
  }

  async start(): Promise<void> {
    const args = ['-cp', join(this.#libs, '*'), 'kafka.Kafka', join(this.#process.directory, 'server.properties')];
    const { heapMb = HEAP_MB, jvmFlags } = this.#options;
    await this.#process.spawn({ heapMb, args, ...(jvmFlags !== undefined && { jvmFlags }) });
    await this.#process.until(async () => groupCoordinatorAnswers(this.listener('PLAINTEXT')), START_TIMEOUT_MS);
  }

  async #configure(): Promise<void> {
    const ports: Record<string, number> = {};
    for (const name of ['PLAINTEXT', ...Object.keys(this.#options.listeners ?? {})]) ports[name] = await freePort();
    this.#ports = ports;
    const place = { dataDir: join(this.#process.directory, 'data'), bind: '127.0.0.1', host: '127.0.0.1' };
    this.#write(this.#process.directory, { ...place, ports, controllerPort: await freePort() });
  }

  #write(directory: string, place: Place): string {
    const file = join(directory, 'server.properties');
    writeFileSync(file, serverProperties(this.#options, place));
    return file;
  }

  /** The storage tool takes a Java start of its own; what it writes is the same for every broker without users, so it is kept. */
  async #format(): Promise<void> {
    const format = async (file: string): Promise<unknown> =>
      run(javaCommand(), [
        '-XX:TieredStopAtLevel=1',
        '-cp',
        join(this.#libs, '*'),
        'kafka.tools.StorageTool',
        ...formatArguments(this.#options, file),
      ]);
    const { directory } = this.#process;
    if (this.#options.scramUsers !== undefined) {
      await format(join(directory, 'server.properties'));
      return;
    }
    const template = await filled(`${basename(dirname(this.#libs))}-formatted`, async (draft) => {
      const place = { dataDir: join(draft, 'data'), bind: '127.0.0.1', host: '127.0.0.1', ports: { PLAINTEXT: 1 }, controllerPort: 2 };
      const file = join(draft, 'server.properties');
      writeFileSync(file, serverProperties({}, place));
      await format(file);
    });
    cpSync(join(template, 'data'), join(directory, 'data'), { recursive: true });
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }

  async kill(): Promise<void> {
    await this.#process.kill();
  }

  async pause(): Promise<void> {
    this.#process.pause();
  }

  async resume(): Promise<void> {
    this.#process.resume();
  }

  log(): string {
    return this.#process.log();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
