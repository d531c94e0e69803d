/** The follower over a topic whose appends become durable when the test says so. */
import { NO_COPY } from './no-copy.ts';
import { Follower, type FollowOptions } from '#services/reader/follow.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { toLsn, ZERO_LSN } from '#schemas/lsn.ts';
import type { CopyHooks } from '#services/reader/copy/copy-port.ts';

/** A topic whose appends become durable when the test says so. */
export class HeldTopic {
  readonly appended: { readonly tags: string; readonly settle: PromiseWithResolvers<void> }[] = [];
  #end = 0;

  readonly topic: Topic = {
    name: 'held',
    partitions: 1,
    append: async (_partition, batch) => {
      const baseOffset = this.#end;
      this.#end += batch.count;
      const bytes = Buffer.concat(batch.parts);
      let tags = '';
      for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) tags += String.fromCharCode(bytes[at + 4]!);
      const settle = Promise.withResolvers<void>();
      this.appended.push({ tags, settle });
      await settle.promise;
      return { baseOffset, endOffset: baseOffset + batch.count };
    },
    partitionFor: () => 0,
    start: () => 0,
    end: () => this.#end,
    read: () => {
      throw new Error('not read in this test');
    },
    commit: async () => undefined,
    committed: () => undefined,
    trim: async () => undefined,
    size: () => 0,
  };

  get tags(): string[] {
    return this.appended.map((a) => a.tags);
  }

  async settle(index: number): Promise<void> {
    this.appended[index]!.settle.resolve();
    await turn();
  }
}

/** Lets every promise that is already settled run its reactions. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

export interface FollowedOptions extends Pick<FollowOptions, 'ignoreOrigins' | 'foreign' | 'whose'> {
  readonly lastCommit?: bigint;
  readonly copy?: Partial<CopyHooks>;
}

export function follow(options: FollowedOptions = {}): {
  follower: Follower;
  raw: HeldTopic;
  progress: HeldTopic;
  errors: unknown[];
} {
  const raw = new HeldTopic();
  const progress = new HeldTopic();
  const errors: unknown[] = [];
  const follower = new Follower({
    name: 'm',
    raw: raw.topic,
    progress: progress.topic,
    ...options,
    copy: { ...NO_COPY, ...options.copy },
    lastCommit: toLsn(options.lastCommit ?? 0n),
    durableEnd: ZERO_LSN,
    pause: () => undefined,
    resume: () => undefined,
    fail: (error) => errors.push(error),
  });
  return { follower, raw, progress, errors };
}

export function send(follower: Follower, ...frames: readonly Buffer[]): void {
  for (const frame of frames) follower.onMessage(frame);
}
