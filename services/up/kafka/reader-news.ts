/**
 * What the readers of a migration have recorded for whoever controls them from elsewhere. Guarantee: what is told was durable at the
 * moment of asking; while Kafka does not answer it says nothing rather than something old.
 */
import type { Cursor, Topic } from '#connectors/change-log/change-log.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { type CopyStatus, UNKNOWN_COPY } from '#schemas/status/status-result.ts';
import { decodeCopyRecord } from '#services/reader/copy/control-record.ts';
import { OperatorSettings } from '#services/reader/copy/operator-settings.ts';
import { forEachRecord } from '#services/runtime/records.ts';
import { FencedTopic } from './fenced-topic.ts';

/** A status that waits longer is of no use to who asked. */
const PATIENCE_MS = 3_000;

export class ReaderNews {
  readonly #progress: Topic;
  readonly #settings: OperatorSettings;
  #cursor: Cursor | undefined;
  #reading: Promise<void> | undefined;

  constructor(file: MigrationFile, progress: Topic) {
    this.#progress = progress;
    this.#settings = new OperatorSettings(file.settings.copy);
  }

  async copyStatus(): Promise<CopyStatus> {
    const { promise: late, resolve } = Promise.withResolvers<CopyStatus>();
    const timer = setTimeout(() => resolve(UNKNOWN_COPY), PATIENCE_MS);
    const read = this.#readOn().then(
      () => this.#settings.status(),
      () => UNKNOWN_COPY,
    );
    return Promise.race([read, late]).finally(() => clearTimeout(timer));
  }

  async close(): Promise<void> {
    await this.#cursor?.close();
  }

  /** A cursor has one caller: who comes while it reads gets what it reads. */
  #readOn(): Promise<void> {
    this.#reading ??= this.#readAll().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    this.#cursor ??= new FencedTopic(this.#progress).read(0);
    for (let batch = await this.#cursor.poll(); batch !== undefined; batch = await this.#cursor.poll()) {
      forEachRecord(batch, batch.baseOffset, (frame) => {
        const record = decodeCopyRecord(frame);
        if (record?.t === 'operator' || record?.t === 'recopy-refused') this.#settings.take(record);
      });
    }
  }
}
