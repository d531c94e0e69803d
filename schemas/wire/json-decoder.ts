/**
 * The decoder of one schema of Kafka Connect's JSON. Guarantee: reads what we wrote and what the Debezium connector wrote, every digit of a
 * number included.
 */
import { invariant } from '../errors.ts';
import type { ConnectField, ConnectType } from './connect-type.ts';
import { readExactTexts, type ExactTexts } from './exact-text.ts';
import type { Form } from './form/form.ts';
import { formOf } from './form/form-of-type.ts';
import { readJsonSchema } from './json-schema.ts';
import { isJsonPlaceholder, plainOf, readJson } from './json-value.ts';
import { putExact, RowBuffer } from './row-buffer.ts';
import { sourceOf } from './source-block.ts';
import { noEnvelope, type SourcedEvent } from './sourced-event.ts';
import { isOneOf, refuseJavaArray, unavailableTexts } from './unavailable.ts';
import { ABSENT_FIELD, NULL_FIELD, type DecodedEvent, type RowFields, type ValueMarks } from './wire.ts';

type Fields = Readonly<Record<string, unknown>>;

class JsonRow {
  readonly columns: readonly string[];
  readonly #fields: readonly ConnectField[];
  readonly #forms: readonly Form[];
  readonly #seesPlaceholders: boolean;
  /** Of each field, where others write them. */
  readonly #unavailable: readonly (readonly Buffer[])[];
  readonly #row: RowBuffer;

  constructor(fields: readonly ConnectField[], seesPlaceholders: boolean) {
    this.columns = fields.map((field) => field.column ?? field.name);
    this.#fields = fields;
    this.#forms = fields.map((field) => formOf(field.type));
    this.#seesPlaceholders = seesPlaceholders;
    this.#unavailable = this.#forms.map((form) => (seesPlaceholders ? unavailableTexts(form) : []));
    this.#row = new RowBuffer(fields.length);
  }

  read(record: Fields): RowBuffer {
    const row = this.#row;
    row.begin();
    this.#fields.forEach((field, i) => {
      const value = record[field.name];
      const start = row.out.pos;
      row.from[i] = start;
      if (value === null || value === undefined) row.length[i] = NULL_FIELD;
      else if (this.#seesPlaceholders && isJsonPlaceholder(this.#forms[i]!, value)) row.length[i] = ABSENT_FIELD;
      else {
        readJson(this.#forms[i]!, value, row.out);
        row.length[i] = this.#isUnavailable(i, start) ? ABSENT_FIELD : row.out.pos - start;
      }
    });
    row.end();
    return row;
  }

  /** The text written from `start` on stands for a value that was not carried. */
  #isUnavailable(field: number, start: number): boolean {
    if (!this.#seesPlaceholders) return false;
    const { buffer, pos } = this.#row.out;
    if (this.#forms[field]!.kind === 'array') refuseJavaArray(this.columns[field]!, buffer, start, pos);
    return isOneOf(this.#unavailable[field]!, buffer, start, pos);
  }
}

export class JsonDecoder {
  readonly #isEnvelope: boolean;
  readonly #before: JsonRow;
  readonly #after: JsonRow;
  readonly #key: JsonRow;
  readonly #source: ConnectType | undefined;

  constructor(schema: string) {
    const { type, isOwn } = readJsonSchema(schema);
    const fields = type.fields ?? [];
    const of = (fieldName: string): ConnectType | undefined => fields.find((field) => field.name === fieldName)?.type;
    this.#before = new JsonRow(of('before')?.fields ?? [], !isOwn);
    this.#after = new JsonRow(of('after')?.fields ?? [], !isOwn);
    this.#key = new JsonRow(fields, false);
    this.#source = of('source');
    this.#isEnvelope = this.#source !== undefined && of('op') !== undefined;
  }

  decode(payload: Fields, marks: ValueMarks): SourcedEvent {
    if (!this.#isEnvelope) throw noEnvelope();
    const [was, is] = [payload['before'], payload['after']] as readonly (Fields | null | undefined)[];
    const before = was === null || was === undefined ? undefined : this.#before.read(was);
    const after = is === null || is === undefined ? undefined : this.#after.read(is);
    const { columns } = this.#after;
    after?.markAbsent(marks.absent);
    if (marks.exact !== undefined) {
      const texts = readExactTexts(marks.exact);
      putExact(after, texts.a, columns);
      putExact(before, texts.b, columns);
    }
    const op = payload['op'] as DecodedEvent['op'];
    return { op, columns, before, after, source: sourceOf(plainOf(this.#source!, payload['source'])) };
  }

  decodeKey(payload: Fields, exact: ExactTexts | undefined): { readonly columns: readonly string[]; readonly row: RowFields } {
    invariant(typeof payload === 'object', 'a key is a record');
    const row = this.#key.read(payload);
    putExact(row, exact?.k, this.#key.columns);
    return { columns: this.#key.columns, row };
  }
}
