/**
 * The embedded change log: topics under one directory, for one process. Guarantee: that of the port (change-log.ts); what it holds
 * survives SIGKILL and power loss, and a second process is refused.
 */
import * as path from 'node:path';
import type { ChangeLog, Topic } from '#connectors/change-log/change-log.ts';
import { invariant, messageOf, PipelineError } from '#schemas/errors.ts';
import { makeDurableDirectory, nodeFileSystem, type LogFileSystem } from './file-system.ts';
import { EmbeddedTopic, type Recovered } from './topic.ts';

/** Retention removes whole segments: small enough to give space back soon, large enough that rolling costs nothing. */
const SEGMENT_BYTES = 64 * 1024 * 1024;
/** Per partition: a sink that is a second behind still reads from memory. */
const TAIL_BYTES = 32 * 1024 * 1024;

export interface EmbeddedLogOptions {
  readonly directory: string;
  readonly segmentBytes?: number;
  /** Newest batches of each partition kept in memory. */
  readonly tailBytes?: number;
  readonly onRecovered?: (recovered: Recovered) => void;
  /** For tests and the simulator. */
  readonly disk?: LogFileSystem;
  readonly makeId?: () => string;
}

/** Opens or creates. @throws PipelineError CF-3004 when another process holds the directory. */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<ChangeLog> {
  const disk = options.disk ?? nodeFileSystem;
  const directory = path.resolve(options.directory);
  try {
    await makeDurableDirectory(disk, directory);
  } catch (cause) {
    throw new PipelineError('CF-3001', `Cannot make the directory ${directory}: ${messageOf(cause)}.`, { cause, path: directory });
  }
  const unlock = await disk.lock(directory);
  return new EmbeddedLog(options, disk, directory, unlock);
}

class EmbeddedLog implements ChangeLog {
  readonly #options: EmbeddedLogOptions;
  readonly #disk: LogFileSystem;
  readonly #directory: string;
  readonly #unlock: () => Promise<void>;
  readonly #topics = new Map<string, Promise<EmbeddedTopic>>();
  #closing: Promise<void> | undefined;

  constructor(options: EmbeddedLogOptions, disk: LogFileSystem, directory: string, unlock: () => Promise<void>) {
    this.#options = options;
    this.#disk = disk;
    this.#directory = directory;
    this.#unlock = unlock;
  }

  async topic(name: string, { partitions }: { readonly partitions: number }): Promise<Topic> {
    invariant(this.#closing === undefined, 'topic after the change log was closed');
    invariant(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(name), `${JSON.stringify(name)} is no topic name`);
    invariant(Number.isInteger(partitions) && partitions > 0, 'a topic has at least one partition');
    const opening = this.#topics.get(name) ?? this.#open(name, partitions);
    this.#topics.set(name, opening);
    const topic = await opening;
    if (topic.partitions !== partitions) {
      throw new PipelineError('CF-3002', `Topic ${name} has ${topic.partitions} partitions, not ${partitions}.`, { path: this.#directory });
    }
    return topic;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(name: string, partitions: number): Promise<EmbeddedTopic> {
    try {
      return await EmbeddedTopic.open({
        disk: this.#disk,
        directory: path.join(this.#directory, name),
        name,
        partitions,
        segmentBytes: this.#options.segmentBytes ?? SEGMENT_BYTES,
        tailBytes: this.#options.tailBytes ?? TAIL_BYTES,
        onRecovered: this.#options.onRecovered ?? (() => undefined),
        ...(this.#options.makeId !== undefined && { makeId: this.#options.makeId }),
      });
    } catch (error) {
      this.#topics.delete(name);
      if (error instanceof PipelineError) throw error;
      throw new PipelineError('CF-3001', `Cannot open topic ${name} in ${this.#directory}: ${messageOf(error)}.`, {
        cause: error,
        path: this.#directory,
      });
    }
  }

  async #close(): Promise<void> {
    const opened = await Promise.allSettled(this.#topics.values());
    try {
      for (const topic of opened) if (topic.status === 'fulfilled') await topic.value.close();
    } finally {
      await this.#unlock();
    }
  }
}
