/**
 * A topic on disk: `meta.json`, `groups.json`, one directory per partition. Guarantee: opened with another partition count than it was
 * made with, or with less in it than it is known to have held, it is refused untouched.
 */
import { randomUUID } from 'node:crypto';
import * as path from 'node:path';
import { z } from 'zod';
import type { Cursor, Offset, RecordBatch, Topic } from '#connectors/change-log/change-log.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { invariant } from '#schemas/errors.ts';
import { seedOf } from './batch.ts';
import { makeDurableDirectory, readWhole, replaceFile, type LogFileSystem } from './file-system.ts';
import { Groups } from './groups.ts';
import { Partition, type Appended, type PartitionOptions } from './partition.ts';
import { damaged } from './segment.ts';

const META = 'meta.json';
/** Ends of all partitions, there only between a clean close and the next open: what lies below was durable. */
const CLOSED = 'closed.json';

const Meta = z.strictObject({ format: z.literal(1), id: z.string(), partitions: z.int().positive() });
type Meta = z.infer<typeof Meta>;
const Closed = z.strictObject({ ends: z.array(z.int().nonnegative()) });

/** A torn tail was cut at open: bytes of appends that had not been acknowledged. */
export interface Recovered {
  readonly topic: string;
  readonly partition: number;
  readonly cutBytes: number;
}

export interface TopicOptions {
  readonly disk: LogFileSystem;
  readonly directory: string;
  readonly name: string;
  readonly partitions: number;
  readonly segmentBytes: number;
  readonly tailBytes: number;
  readonly onRecovered: (recovered: Recovered) => void;
  /** Identity of a new topic. */
  readonly makeId?: () => string;
}

export class EmbeddedTopic implements Topic {
  readonly name: string;
  readonly #disk: LogFileSystem;
  readonly #directory: string;
  readonly #partitions: readonly Partition[];
  readonly #groups: Groups;

  private constructor(options: TopicOptions, partitions: readonly Partition[], groups: Groups) {
    this.name = options.name;
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#partitions = partitions;
    this.#groups = groups;
  }

  static async open(options: TopicOptions): Promise<EmbeddedTopic> {
    const { disk, directory } = options;
    await makeDurableDirectory(disk, directory);
    const meta = await openMeta(options);
    if (meta.partitions !== options.partitions) {
      throw damaged(
        path.join(directory, META),
        0,
        `topic ${options.name} was made with ${meta.partitions} partitions, not ${options.partitions}`,
      );
    }
    const groups = await Groups.open(disk, directory);
    const ends = await closedEnds(disk, directory);
    const partitions: Partition[] = [];
    try {
      for (let index = 0; index < meta.partitions; index += 1) {
        const knownEnd = Math.max(groups.highest(index), ends[index] ?? 0);
        const { partition, cutBytes } = await Partition.open(partitionOptions(options, meta, index), knownEnd);
        partitions.push(partition);
        if (cutBytes > 0) options.onRecovered({ topic: options.name, partition: index, cutBytes });
      }
      await forgetClosed(disk, directory);
    } catch (error) {
      await Promise.all(partitions.map((partition) => partition.close()));
      throw error;
    }
    return new EmbeddedTopic(options, partitions, groups);
  }

  get partitions(): number {
    return this.#partitions.length;
  }

  append(partition: number, batch: RecordBatch): Promise<Appended> {
    return this.#partition(partition).append(batch);
  }

  partitionFor(key: Buffer): number {
    return partitionOf(key, this.partitions);
  }

  start(partition: number): Offset {
    return this.#partition(partition).start;
  }

  end(partition: number): Offset {
    return this.#partition(partition).end;
  }

  read(partition: number, from: Offset): Cursor {
    return this.#partition(partition).read(from);
  }

  async commit(group: string, partition: number, offset: Offset): Promise<void> {
    const of = this.#partition(partition);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > of.end) throw of.outside(offset);
    await this.#groups.commit(group, partition, offset);
  }

  committed(group: string, partition: number): Offset | undefined {
    return this.#groups.committed(group, partition);
  }

  trim(partition: number, before: Offset): Promise<void> {
    return this.#partition(partition).trim(before);
  }

  size(): number {
    return this.#partitions.reduce((sum, partition) => sum + partition.bytes, 0);
  }

  async close(): Promise<void> {
    await this.#groups.close();
    await Promise.all(this.#partitions.map((partition) => partition.close()));
    const ends = this.#partitions.map((partition) => partition.end);
    try {
      await replaceFile(this.#disk, path.join(this.#directory, CLOSED), Buffer.from(`${JSON.stringify({ ends })}\n`));
    } catch {
      // On a full disk the next open knows less about the tail, as after a crash; nothing else is lost.
    }
  }

  #partition(index: number): Partition {
    const partition = this.#partitions[index];
    invariant(partition !== undefined, `topic ${this.name} has no partition ${index}`);
    return partition;
  }
}

function partitionOptions(options: TopicOptions, meta: Meta, index: number): PartitionOptions {
  const { disk, directory, segmentBytes, tailBytes } = options;
  return { disk, directory: path.join(directory, String(index)), seed: seedOf(`${meta.id}/${index}`), segmentBytes, tailBytes };
}

/** The meta file is written last: without it nothing was ever acknowledged. */
async function openMeta(options: TopicOptions): Promise<Meta> {
  const { disk, directory } = options;
  const file = path.join(directory, META);
  const names = (await disk.list(directory)) ?? [];
  if (names.includes(META)) {
    try {
      return Meta.parse(JSON.parse((await readWhole(disk, file)).toString('utf8')));
    } catch (error) {
      throw damaged(file, 0, 'it does not describe a topic', error);
    }
  }
  if (names.includes(CLOSED) || names.includes('groups.json')) throw damaged(file, 0, 'it is gone');
  const meta: Meta = { format: 1, id: (options.makeId ?? randomUUID)(), partitions: options.partitions };
  for (let index = 0; index < meta.partitions; index += 1) {
    const of = partitionOptions(options, meta, index);
    await refuseOrphans(disk, of.directory, file);
    await makeDurableDirectory(disk, of.directory);
    await Partition.create(of);
  }
  await replaceFile(disk, file, Buffer.from(`${JSON.stringify(meta)}\n`));
  return meta;
}

/** Segments that hold something without the meta file are no half-made topic: the file was removed. */
async function refuseOrphans(disk: LogFileSystem, directory: string, meta: string): Promise<void> {
  for (const name of (await disk.list(directory)) ?? []) {
    const file = await disk.open(path.join(directory, name), 'read');
    const size = await file.size();
    await file.close();
    if (size > 0) throw damaged(meta, 0, `it is gone, but ${path.join(directory, name)} holds ${size} bytes`);
  }
}

async function closedEnds(disk: LogFileSystem, directory: string): Promise<readonly Offset[]> {
  const names = (await disk.list(directory)) ?? [];
  if (!names.includes(CLOSED)) return [];
  const file = path.join(directory, CLOSED);
  try {
    return Closed.parse(JSON.parse((await readWhole(disk, file)).toString('utf8'))).ends;
  } catch (error) {
    throw damaged(file, 0, 'it does not hold the ends of a closed topic', error);
  }
}

/** Durable before the first append: a stale file could only name an end below the real one, but would then guard nothing. */
async function forgetClosed(disk: LogFileSystem, directory: string): Promise<void> {
  await disk.remove(path.join(directory, CLOSED));
  await disk.syncDirectory(directory);
}
