/**
 * Writes our messages into the source's WAL. Guarantee: each is committed when its promise resolves; those asked for while one
 * transaction is under way share the next one, so many small chunks do not cost two commits each.
 */
import type { OurMessage } from '#schemas/frame/frame.ts';
import type { CopySource } from '#connectors/source/copy-source.ts';

const MAX_MESSAGES = 50;

interface Waiting {
  readonly text: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Watermarks {
  readonly #source: CopySource;
  #queue: Waiting[] = [];
  #writing = false;

  constructor(source: CopySource) {
    this.#source = source;
  }

  emit(message: OurMessage): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.push({ text: JSON.stringify(message), resolve, reject });
    if (!this.#writing) void this.#drain();
    return promise;
  }

  /**
   * Only where it may be, by itself; a decision of `migration` that is made behind the question is behind the message, too.
   * @returns false: nothing was written
   */
  async emitHigh(message: OurMessage, mayBe: () => Promise<boolean>, migration: string | undefined): Promise<boolean> {
    const epoch = migration === undefined ? undefined : await this.#source.lastEpoch(migration);
    if (!(await mayBe())) return false;
    if (migration !== undefined && epoch !== undefined)
      return this.#source.emitUndecided(JSON.stringify(message), { name: migration, epoch });
    await this.emit(message);
    return true;
  }

  async #drain(): Promise<void> {
    this.#writing = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_MESSAGES);
      try {
        await this.#source.emit(batch.map(({ text }) => text));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = false;
  }
}
