/**
 * Our services over Kafka as a contender: reader, transformer and sink, each a process of its own. Guarantee: as with Debezium only the source's
 * side stands still in a pause (with profiles all do, since a profile is written at the end of a process).
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describeEnd, Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { untilArrived } from '../arrival.ts';
import type { Contender, CopyOptions } from '../contender.ts';
import { type OursOptions, migrationText } from '../ours.ts';
import { summariseProfiles } from '../profile.ts';
import { cleanSource, streamStart } from '../source-side.ts';
import type { UsageGroup } from '../usage.ts';
import type { KafkaLab } from './lab.ts';

const READER = 'reader';
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 100;

export interface OverKafkaOptions extends OursOptions {
  readonly name: string;
  /** Of transformers, and of sinks. */
  readonly instances: number;
}

/** A process: `transformer 2` is the second one of its kind. */
interface Instance {
  readonly name: string;
  readonly command: string;
}

export class OverKafka implements Contender {
  readonly name: string;
  readonly ordered = true;
  readonly setting: string;
  readonly #options: OverKafkaOptions;
  readonly #lab: KafkaLab;
  readonly #behindKafka: readonly Instance[];
  readonly #all: readonly Instance[];
  readonly #running = new Map<string, Pipeline>();
  #copy: CopyOptions | undefined;
  #starts = 0;

  constructor(lab: KafkaLab, options: OverKafkaOptions) {
    const { name, instances } = options;
    this.name = name;
    const counted = instances === 1 ? 'a reader, a transformer and a sink' : `a reader, ${instances} transformers and ${instances} sinks`;
    this.setting = `${counted} over Kafka, 3 partitions, Avro, embedded registry, defaults of the migration file`;
    this.#lab = lab;
    this.#options = options;
    this.#behindKafka = ['transformer', 'sink'].flatMap((command) =>
      Array.from({ length: instances }, (_, i) => ({ command, name: i === 0 ? command : `${command} ${i + 1}` })),
    );
    this.#all = [{ name: READER, command: READER }, ...this.#behindKafka];
  }

  get targetUrl(): string {
    return this.#copy?.targetUrl ?? '';
  }

  async prepare(options: CopyOptions): Promise<void> {
    this.#copy = options;
    this.#starts++;
    mkdirSync(this.#options.directory, { recursive: true });
    const brokers = this.#lab.brokers.map((broker) => `"${broker}"`).join(', ');
    writeFileSync(this.#file, migrationText(options, `log: { kafka: { brokers: [${brokers}] } }\n${this.#options.settings}`));
    for (const instance of this.#behindKafka) this.#start(instance);
    for (const { name } of this.#behindKafka) await this.#untilReady(name);
  }

  async copy({ sourceUrl, targetUrl, tables }: CopyOptions): Promise<number> {
    this.#start({ name: READER, command: READER });
    return await untilArrived({ sourceUrl, targetUrl, tables, check: () => this.check() });
  }

  async pause(): Promise<void> {
    for (const { name } of this.#options.profile ? this.#all : [{ name: READER }]) await this.#stop(name);
  }

  async resume(): Promise<void> {
    this.#starts++;
    for (const instance of this.#all) if (this.#running.get(instance.name)?.result !== undefined) this.#start(instance);
    await Promise.resolve();
  }

  async check(): Promise<void> {
    for (const [service, pipeline] of this.#running)
      if (pipeline.result !== undefined)
        throw new Error(`crossfade ${service} ended (${describeEnd(pipeline.result)})\n${pipeline.logTail(30)}`);
    await Promise.resolve();
  }

  async streamingSince(): Promise<number | undefined> {
    return this.#copy === undefined ? undefined : streamStart(this.#copy);
  }

  processes(fresh: boolean): readonly UsageGroup[] {
    return this.#all.map(({ name }) => ({
      name,
      kind: 'process',
      fresh: fresh && (name === READER || this.#options.profile),
      pid: () => {
        const one = this.#running.get(name);
        return one?.result === undefined ? one?.pid : undefined;
      },
    }));
  }

  profile(): string | undefined {
    const parts = this.#all.map(({ name }) => [name, summariseProfiles(this.#profileDir(name))] as const);
    const told = parts.flatMap(([service, text]) => (text === undefined ? [] : [`--- ${service}\n${text}`]));
    return told.length === 0 ? undefined : told.join('\n');
  }

  async remove(): Promise<void> {
    for (const service of this.#running.keys()) await this.#stop(service);
    if (this.#copy === undefined) return;
    await cleanSource(this.#copy);
    await this.#lab.deleteTopics(this.#label);
    rmSync(this.#place(''), { recursive: true, force: true });
  }

  #start({ name, command }: Instance): void {
    const { nodeArgs, profile } = this.#options;
    const profiling = profile ? ['--cpu-prof', `--cpu-prof-dir=${this.#profileDir(name)}`] : [];
    this.#running.set(
      name,
      Pipeline.start({
        command,
        file: this.#file,
        dataDir: this.#place(name),
        logFile: this.#logFile(name),
        nodeArgs: [...nodeArgs, ...profiling],
      }),
    );
  }

  async #stop(service: string): Promise<void> {
    const pipeline = this.#running.get(service);
    if (pipeline === undefined) return;
    const end = await pipeline.stop();
    if (end.code !== 0) throw new Error(`crossfade ${service} did not stop cleanly (${describeEnd(end)})\n${pipeline.logTail(30)}`);
  }

  /** As the service says of itself. */
  async #untilReady(service: string): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    const log = (): string => this.#running.get(service)?.logTail(200) ?? '';
    for (;;) {
      const url = /"url":"([^"]+)","msg":"health/.exec(log())?.[1];
      const response = url === undefined ? undefined : await fetch(new URL('/readyz', url)).catch(() => undefined);
      if (response?.ok === true) return;
      await this.check();
      if (Date.now() > deadline) throw new Error(`crossfade ${service} was not ready within ${READY_TIMEOUT_MS / 1000} s\n${log()}`);
      await delay(READY_POLL_MS);
    }
  }

  get #label(): string {
    return this.#copy?.label ?? '';
  }

  get #file(): string {
    return join(this.#options.directory, `${this.#label}.yaml`);
  }

  #place(service: string): string {
    return join(this.#options.directory, `${this.#label}-data`, service);
  }

  #logFile(service: string): string {
    return join(this.#options.directory, `${this.#label}-${service}.log`);
  }

  /** One for each start. */
  #profileDir(service: string): string {
    return join(this.#options.directory, `${this.#label}-${service}-profile-${this.#starts}`);
  }
}
