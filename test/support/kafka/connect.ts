/**
 * A real Kafka Connect worker with Debezium's PostgreSQL source and JDBC sink, for tests against what others run. Guarantee: once
 * `startConnect` resolves its REST interface takes connectors; it ends with `stop`, and at the latest with this process. Always Java
 * and Maven, whatever the broker runs in: no image has both connectors.
 */
import { execFile } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { archiveOf, filled, jarsOf, javaCommand } from './jars.ts';
import { JavaProcess } from './java-process.ts';
import { freePort } from './ports.ts';
import { answers } from './registry.ts';

const run = promisify(execFile);
const SOURCE = 'io.debezium:debezium-connector-postgres:3.7.0.Final:tar.gz:plugin';
const SINK = 'io.debezium:debezium-connector-jdbc:3.6.0.Final:tar.gz:plugin'; // 3.7.0 is not on Maven Central
const START_TIMEOUT_MS = 90_000;
const CONNECTOR_TIMEOUT_MS = 60_000;
const POLL_MS = 100;
const HEAP_MB = 512;

export type ConnectorConfig = Readonly<Record<string, string>>;

export interface ConnectorStatus {
  readonly connector: { readonly state: string; readonly trace?: string };
  readonly tasks: readonly { readonly id: number; readonly state: string; readonly trace?: string }[];
}

export interface ConnectOptions {
  readonly brokers: readonly string[];
  /** Further lines of the worker's properties, over ours. */
  readonly properties?: Readonly<Record<string, string>>;
  readonly heapMb?: number;
  readonly jvmFlags?: readonly string[];
}

interface Parts {
  /** The worker's jars. */
  readonly worker: string;
  /** Folders of plugins. */
  readonly plugins: readonly string[];
}

/** Everything a worker is made of, fetched when it is not there yet. */
export async function fetchConnect(): Promise<Parts> {
  const worker = await jarsOf('connect');
  return { worker, plugins: [await archiveOf(SOURCE), await archiveOf(SINK), await avroPlugin(worker)] };
}

/** Apicurio 2.6 does not list its converters in the way that `service_load` reads; Kafka's own tool adds the list. */
async function avroPlugin(worker: string): Promise<string> {
  const jars = await jarsOf('avro-converter');
  return filled(`${basename(dirname(jars))}-plugin`, async (draft) => {
    const folder = join(draft, 'jars');
    cpSync(jars, folder, { recursive: true });
    const tool = ['org.apache.kafka.tools.ConnectPluginPath', 'sync-manifests', '--plugin-location', folder];
    await run(javaCommand(), ['-XX:TieredStopAtLevel=1', '-cp', join(worker, '*'), ...tool]);
  });
}

export async function startConnect(options: ConnectOptions): Promise<Connect> {
  const { worker, plugins } = await fetchConnect();
  const server = new JavaProcess('connect');
  try {
    const port = await freePort();
    const file = join(server.directory, 'worker.properties');
    writeFileSync(file, workerProperties(options, { port, plugins, directory: server.directory }));
    const args = ['-cp', join(worker, '*'), 'org.apache.kafka.connect.cli.ConnectStandalone', file];
    const { jvmFlags } = options;
    await server.spawn({ heapMb: options.heapMb ?? HEAP_MB, args, ...(jvmFlags !== undefined && { jvmFlags }) });
    const url = `http://127.0.0.1:${port}/connectors`;
    await server.until(async () => answers(url), START_TIMEOUT_MS);
    return new Connect(url, server);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

interface Place {
  readonly port: number;
  readonly plugins: readonly string[];
  readonly directory: string;
}

function workerProperties(options: ConnectOptions, place: Place): string {
  const properties = {
    'bootstrap.servers': options.brokers.join(','),
    listeners: `http://127.0.0.1:${place.port}`,
    'plugin.path': place.plugins.join(','),
    'plugin.discovery': 'service_load', // else it looks into every class of every jar: ten seconds
    'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'offset.storage.file.filename': join(place.directory, 'offsets'),
    'offset.flush.interval.ms': '1000',
    ...options.properties,
  };
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

export class Connect implements AsyncDisposable {
  readonly #url: string;
  readonly #server: JavaProcess;

  constructor(url: string, server: JavaProcess) {
    this.#url = url;
    this.#server = server;
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  /** Makes the connector, or gives it this configuration. */
  async create(name: string, config: ConnectorConfig): Promise<void> {
    await this.#ask('PUT', `/${name}/config`, config);
  }

  async status(name: string): Promise<ConnectorStatus> {
    return (await this.#ask('GET', `/${name}/status`)) as ConnectorStatus;
  }

  /** Until the connector and all its tasks run. @throws with the trace as soon as one has failed. */
  async waitRunning(name: string): Promise<void> {
    const deadline = Date.now() + CONNECTOR_TIMEOUT_MS;
    for (;;) {
      const { connector, tasks } = await this.status(name).catch(() => ({ connector: { state: 'UNKNOWN' }, tasks: [] }));
      const all: readonly { readonly state: string; readonly trace?: string }[] = [connector, ...tasks];
      const failed = all.find(({ state }) => state === 'FAILED');
      if (failed !== undefined) throw new Error(`connector ${name} failed:\n${failed.trace}`);
      if (tasks.length > 0 && all.every(({ state }) => state === 'RUNNING')) return;
      if (Date.now() > deadline) throw new Error(`connector ${name} does not run:\n${this.log().slice(-4000)}`);
      await delay(POLL_MS);
    }
  }

  /** Ends its tasks and keeps its offsets. */
  async halt(name: string): Promise<void> {
    await this.#ask('PUT', `/${name}/stop`);
  }

  async resume(name: string): Promise<void> {
    await this.#ask('PUT', `/${name}/resume`);
  }

  async delete(name: string): Promise<void> {
    await this.#ask('DELETE', `/${name}`);
  }

  /** Without a last flush of its offsets. */
  async kill(): Promise<void> {
    await this.#server.kill();
  }

  async stop(): Promise<void> {
    await this.#server.stop();
  }

  log(): string {
    return this.#server.log();
  }

  async #ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${this.#url}${path}`, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`Connect: ${method} ${path}: ${response.status} ${text.slice(0, 2000)}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}
