/**
 * Positions of consumer groups in one topic. Guarantee: a position that `commit` resolved for survives a crash and never moves
 * backwards; `committed` never shows one that is not durable.
 */
import * as path from 'node:path';
import { z } from 'zod';
import type { Offset } from '#connectors/change-log/change-log.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { readWhole, replaceFile, type LogFileSystem } from './file-system.ts';
import { damaged } from './segment.ts';

const NAME = 'groups.json';
/** Group → partition → offset. */
const Stored = z.strictObject({ groups: z.record(z.string(), z.record(z.string().regex(/^\d+$/), z.int().nonnegative())) });
type Positions = z.infer<typeof Stored>['groups'];

interface Pending {
  readonly group: string;
  readonly partition: number;
  readonly offset: Offset;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Groups {
  readonly #disk: LogFileSystem;
  readonly #file: string;
  #durable: Positions;
  #queue: Pending[] = [];
  #running: Promise<void> | undefined;

  private constructor(disk: LogFileSystem, file: string, durable: Positions) {
    this.#disk = disk;
    this.#file = file;
    this.#durable = durable;
  }

  static async open(disk: LogFileSystem, directory: string): Promise<Groups> {
    const file = path.join(directory, NAME);
    const names = (await disk.list(directory)) ?? [];
    if (!names.includes(NAME)) return new Groups(disk, file, {});
    try {
      return new Groups(disk, file, Stored.parse(JSON.parse((await readWhole(disk, file)).toString('utf8'))).groups);
    } catch (error) {
      throw damaged(file, 0, 'it does not hold consumer positions', error);
    }
  }

  committed(group: string, partition: number): Offset | undefined {
    return this.#durable[group]?.[String(partition)];
  }

  /** Highest position of any group: the log was durable up to there. */
  highest(partition: number): Offset {
    return Object.values(this.#durable).reduce((highest, positions) => Math.max(highest, positions[String(partition)] ?? 0), 0);
  }

  /** Calls made while the file is written go together into the next write. */
  commit(group: string, partition: number, offset: Offset): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ group, partition, offset, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async close(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const pending = this.#queue.splice(0);
      const next = raised(this.#durable, pending);
      try {
        if (next !== this.#durable) await replaceFile(this.#disk, this.#file, Buffer.from(`${JSON.stringify({ groups: next })}\n`));
      } catch (cause) {
        const error = new PipelineError('CF-3001', `Cannot write ${this.#file}: ${messageOf(cause)}.`, { cause, path: this.#file });
        for (const { reject } of pending) reject(error);
        continue;
      }
      this.#durable = next;
      for (const { resolve } of pending) resolve();
    }
    this.#running = undefined;
  }
}

/** The same object when nothing rises. */
function raised(positions: Positions, pending: readonly Pending[]): Positions {
  let next = positions;
  for (const { group, partition, offset } of pending) {
    const current = next[group]?.[String(partition)];
    if (current === undefined || offset > current) next = { ...next, [group]: { ...next[group], [String(partition)]: offset } };
  }
  return next;
}
