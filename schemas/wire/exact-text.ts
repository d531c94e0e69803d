/**
 * The exact texts of values whose wire form cannot carry them: header `cfx`, JSON {"a": {"<column>": text}, "b": {…}} of after and
 * before; of a key {"k": {…}}. Guarantee: write and read are inverse.
 */

export interface ExactTexts {
  readonly a?: Readonly<Record<string, string>>;
  readonly b?: Readonly<Record<string, string>>;
  readonly k?: Readonly<Record<string, string>>;
}

/** Gathers them while one event is written; nothing is made for an event that needs none. */
export class ExactCollector {
  #texts: Partial<Record<keyof ExactTexts, Record<string, string>>> | undefined;

  add(part: keyof ExactTexts, column: string, text: string): void {
    this.#texts ??= {};
    // A column may be called __proto__.
    (this.#texts[part] ??= Object.create(null) as Record<string, string>)[column] = text;
  }

  take(): Buffer | undefined {
    if (this.#texts === undefined) return undefined;
    const bytes = Buffer.from(JSON.stringify(this.#texts), 'utf8');
    this.#texts = undefined;
    return bytes;
  }
}

export function readExactTexts(bytes: Buffer): ExactTexts {
  return JSON.parse(bytes.toString('utf8')) as ExactTexts;
}
