/**
 * What an operator does to the copy. Guarantee: a pause and limits take effect at once, are durable when the promise resolves, and hold
 * for every later reader from before its first chunk until they are changed.
 */
import type { CopyStatus } from '#schemas/status/status-result.ts';
import type { ThrottleBody, ThrottleResult } from '#schemas/status/control-request.ts';
import type { ControlJournal } from './control-journal.ts';
import type { CopyRecord, RecopyRefusedRecord } from './control-record.ts';
import { type CopyLimits, OperatorSettings } from './operator-settings.ts';
import type { Throttle } from './throttle.ts';

const PAUSE = 'operator';

export class OperatorControl {
  readonly #settings: OperatorSettings;
  readonly #throttle: Throttle;
  readonly #journal: ControlJournal;

  /** `records`: of earlier readers. */
  constructor(
    file: CopyLimits,
    parts: { readonly throttle: Throttle; readonly journal: ControlJournal; readonly records: readonly CopyRecord[] },
  ) {
    this.#settings = new OperatorSettings(file);
    this.#throttle = parts.throttle;
    this.#journal = parts.journal;
    for (const record of parts.records) if (record.t === 'operator' || record.t === 'recopy-refused') this.#settings.take(record);
    this.#apply();
  }

  /** No further chunk is begun. */
  pause(): Promise<void> {
    return this.#change({ paused: true });
  }

  resume(): Promise<void> {
    return this.#change({ paused: false });
  }

  async throttle(change: ThrottleBody): Promise<ThrottleResult> {
    await this.#change(change);
    const { maxRowsPerSecond = null, maxBytesPerSecond = null } = this.#settings.limits;
    return { maxRowsPerSecond, maxBytesPerSecond };
  }

  /** Who asked hears of it once this is durable. */
  async refuse(refusal: Omit<RecopyRefusedRecord, 't'>): Promise<void> {
    const record: RecopyRefusedRecord = { t: 'recopy-refused', ...refusal };
    this.#settings.take(record);
    await this.#journal.write(record);
  }

  status(): CopyStatus {
    return this.#settings.status();
  }

  async #change(change: ThrottleBody & { readonly paused?: boolean }): Promise<void> {
    const record = this.#settings.change(change);
    this.#settings.take(record);
    this.#apply();
    await this.#journal.write(record);
  }

  #apply(): void {
    const { maxRowsPerSecond, maxBytesPerSecond } = this.#settings.limits;
    this.#throttle.setLimits({ rowsPerSecond: maxRowsPerSecond, bytesPerSecond: maxBytesPerSecond });
    if (this.#settings.paused) this.#throttle.close(PAUSE);
    else this.#throttle.open(PAUSE);
  }
}
