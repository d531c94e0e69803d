/**
 * What the operator has set of the copy: pause, limits; and which of his requests were refused. Guarantee: pure; the same records give
 * the same settings, in the reader, in whoever takes over from it, and in who only tells of them.
 */
import type { CopyStatus } from '#schemas/status/status-result.ts';
import type { ThrottleBody } from '#schemas/status/control-request.ts';
import type { OperatorRecord, RecopyRefusedRecord } from './control-record.ts';

/** Refused requests that are told; the log has all. */
const REFUSED_MAX = 5;

export interface CopyLimits {
  readonly maxRowsPerSecond?: number | undefined;
  readonly maxBytesPerSecond?: number | undefined;
}

export class OperatorSettings {
  readonly #file: CopyLimits;
  #record: OperatorRecord = { t: 'operator', paused: false };
  /** By id: a request whose place was not recorded is refused again after a restart. */
  readonly #refused = new Map<string, RecopyRefusedRecord>();

  /** `file`: limits as the migration file has them; what the operator sets goes before. */
  constructor(file: CopyLimits) {
    this.#file = file;
  }

  get paused(): boolean {
    return this.#record.paused;
  }

  get limits(): CopyLimits {
    const { maxRowsPerSecond: rows, maxBytesPerSecond: bytes } = this.#record;
    return {
      maxRowsPerSecond: rows === undefined ? this.#file.maxRowsPerSecond : (rows ?? undefined),
      maxBytesPerSecond: bytes === undefined ? this.#file.maxBytesPerSecond : (bytes ?? undefined),
    };
  }

  take(record: OperatorRecord | RecopyRefusedRecord): void {
    if (record.t === 'operator') {
      this.#record = record;
      return;
    }
    this.#refused.set(record.id, record);
    for (const id of this.#refused.keys()) if (this.#refused.size > REFUSED_MAX) this.#refused.delete(id);
  }

  /** The record that makes it so. */
  change(change: ThrottleBody & { readonly paused?: boolean }): OperatorRecord {
    return { ...this.#record, ...change };
  }

  status(): CopyStatus {
    const { maxRowsPerSecond = null, maxBytesPerSecond = null } = this.limits;
    const refused = [...this.#refused.values()].map(({ table, error }) => ({ table, error }));
    return { paused: this.paused, maxRowsPerSecond, maxBytesPerSecond, refused };
  }
}
