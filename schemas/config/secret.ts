/** A value of the environment that must never be shown. Guarantee: printing it, logging it or writing it as JSON gives asterisks. */
import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';

const SHOWN = '***';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  /** Tells two secrets apart without telling either. */
  fingerprint(): string {
    return createHmac('sha256', this.#value).update('crossfade mapping').digest('hex');
  }

  toJSON(): string {
    return SHOWN;
  }

  toString(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}
