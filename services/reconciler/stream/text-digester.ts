/**
 * Digests of mapped rows given as texts. Guarantee: the state of a row is what the change stream's bytes give for the same values
 * (schemas/reconcile/tuple-digester.ts); a row with a value that nobody knows is open, and one that the mapping refuses is, too.
 */
import { canonicalEnd, type ValueForm } from '#schemas/reconcile/canonical-form.ts';
import { type RowDigester, WIDE_BYTES } from '#schemas/reconcile/row-digester.ts';
import type { OpenRow, RowState } from '#schemas/reconcile/table-aggregate.ts';
import type { WideTexts } from '#schemas/reconcile/tuple-digester.ts';
import { REFUSED, type RowImage } from '#connectors/probe/postgres/row-image.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';

export type Fields = ReturnType<RowImage>;

/** Of one UTF-16 unit. */
const UTF8_BYTES_MAX = 3;

export class TextDigester {
  readonly #digester: RowDigester;
  readonly #forms: readonly ValueForm[];
  readonly #summed: readonly number[];

  /** @param summed Columns whose texts are kept for their sums. */
  constructor(digester: RowDigester, forms: readonly ValueForm[], summed: readonly number[] = []) {
    this.#digester = digester;
    this.#forms = forms;
    this.#summed = summed;
  }

  /** The digest of a key of these texts, as a copy. */
  key(texts: Texts): Int32Array {
    const digester = this.#digester;
    if (texts.length === 1) {
      const bytes = Buffer.from(texts[0] ?? '');
      return digester.keyOf(bytes, 0, bytes.length).slice();
    }
    digester.begin();
    for (const text of texts) digester.text(text);
    return digester.key().slice();
  }

  /** @param carried Wide values that the row leaves out. @param key For a row that stays open. */
  row(fields: Fields, key: Texts, carried?: WideTexts): Exclude<RowState, undefined> {
    const digester = this.#digester;
    const open: OpenRow = { open: key };
    let wide: WideTexts | undefined;
    digester.begin();
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i];
      if (field === REFUSED) return open;
      const known = field === undefined ? carried?.get(i) : this.#widened(field, i);
      if (known === undefined && field === undefined) return open;
      if (known !== undefined) (wide ??= new Map()).set(i, known);
      digester.text(known ?? this.#canonical(field!, i));
    }
    // A number may be wide, too: its digest can be carried, what it adds to a sum cannot.
    const declared = this.#summed.map((column) => fields[column]);
    if (declared.includes(undefined)) return open;
    return { lanes: digester.row().slice(), declared: declared as (string | null)[], wide };
  }

  #canonical(text: string | null, column: number): string | null {
    const form = this.#forms[column]!;
    if (text === null || form === 'exact') return text;
    const bytes = Buffer.from(text);
    return bytes.toString('utf8', 0, canonicalEnd(form, bytes, 0, bytes.length));
  }

  /** What stands in the row text for a value that is wide. */
  #widened(text: string | null, column: number): string | undefined {
    if (text === null || text.length * UTF8_BYTES_MAX <= WIDE_BYTES) return undefined;
    const bytes = Buffer.from(this.#canonical(text, column)!);
    return bytes.length > WIDE_BYTES ? this.#digester.wideText(bytes, 0, bytes.length) : undefined;
  }
}
