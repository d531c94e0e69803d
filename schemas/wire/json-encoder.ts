/**
 * The encoder of one shape in Kafka Connect's JSON with schemas. Guarantee: the same events, fields and exact header as in Avro; a key
 * whose form is not exact carries its exact texts beside the payload, where Connect's converter does not look.
 */
import { invariant } from '../errors.ts';
import { absentFields } from './absent-fields.ts';
import { hasPlaceholder } from './avro-value.ts';
import { CONNECTOR_VERSION, envelopeType, keyType, rowFields, type WireField } from './envelope-type.ts';
import { ExactCollector } from './exact-text.ts';
import type { Form } from './form/form.ts';
import { formOf } from './form/form-of-type.ts';
import { jsonSchema } from './json-schema.ts';
import { jsonOf, jsonPlaceholder } from './json-value.ts';
import { PlainKey } from './plain-key.ts';
import type { CommitSequence } from './source-block.ts';
import { ABSENT_FIELD, NULL_FIELD, type EncodedEvent, type RowEncoder, type RowFields, type WireEvent, type WireShape, type WireSource } from './wire.ts'; // prettier-ignore

interface JsonField extends WireField {
  readonly form: Form;
  /** `"name":` */
  readonly label: string;
}

export class JsonEncoder implements RowEncoder {
  readonly shape: WireShape;
  readonly #name: string;
  readonly #sequence: CommitSequence;
  readonly #fields: readonly JsonField[];
  readonly #keyFields: readonly JsonField[];
  readonly #valueHead: string;
  readonly #keyHead: string;
  readonly #exact = new ExactCollector();
  readonly #keyExact = new ExactCollector();
  #plainKey: PlainKey | undefined;

  constructor(name: string, shape: WireShape, sequence: CommitSequence) {
    this.shape = shape;
    this.#name = name;
    this.#sequence = sequence;
    this.#fields = rowFields(shape).map((field) => ({ ...field, form: formOf(field.type), label: `${JSON.stringify(field.name)}:` }));
    this.#keyFields = this.#fields.filter((field) => shape.columns[field.index]!.isKey);
    this.#valueHead = `{"schema":${jsonSchema(envelopeType(shape))},"payload":`;
    const key = keyType(shape);
    this.#keyHead = key === undefined ? '' : `{"schema":${jsonSchema(key)},"payload":`;
  }

  encode(event: WireEvent): EncodedEvent {
    const { before, after, op, source } = event;
    const key = this.encodeKey(this.#keyRow(event));
    const rows = `"before":${this.#row(before, 'b')},"after":${this.#row(after, 'a')}`;
    return {
      key,
      value: this.#value(rows, source, op),
      absent: absentFields(after, this.shape.columns.length),
      exact: this.#exact.take(),
    };
  }

  release(): void {
    // Each text is memory of its own.
  }

  /** A key kept outside its row is absent from `after` when it did not change. */
  #keyRow({ before, after }: WireEvent): RowFields {
    invariant(after !== undefined || before !== undefined, 'a change has a row');
    if (after === undefined || before === undefined) return (after ?? before)!;
    return this.#keyFields.some((field) => after.length[field.index] === ABSENT_FIELD) ? before : after;
  }

  encodeKey(row: RowFields): Buffer | undefined {
    if (this.#keyFields.length === 0) return undefined;
    const payload = this.#record(this.#keyFields, row, 'k');
    const exact = this.#keyExact.take();
    return Buffer.from(`${this.#keyHead}${payload}${exact === undefined ? '' : `,"cfx":${exact.toString('utf8')}`}}`, 'utf8');
  }

  plainKey(row: RowFields): Buffer {
    this.#plainKey ??= new PlainKey(this.shape);
    return this.#plainKey.of(row);
  }

  encodeTruncate(source: WireSource): Buffer {
    return this.#value('"before":null,"after":null', source, 't');
  }

  #value(rows: string, source: WireSource, op: string): Buffer {
    const now = Date.now();
    const clock = `"ts_ms":${now},"ts_us":${now}000,"ts_ns":${now}000000`;
    return Buffer.from(`${this.#valueHead}{${rows},"source":${this.#source(source)},"transaction":null,"op":"${op}",${clock}}}`, 'utf8');
  }

  #source({ commitLsn, commitTimeMicros: micros, xid, snapshot }: WireSource): string {
    const { database, schema, table } = this.shape;
    const text = JSON.stringify;
    return (
      `{"version":"${CONNECTOR_VERSION}","connector":"postgresql","name":${text(this.#name)},"ts_ms":${micros / 1000n},` +
      `"snapshot":"${snapshot ? 'incremental' : 'false'}","db":${text(database)},"sequence":${text(this.#sequence.text(commitLsn))},` +
      `"ts_us":${micros},"ts_ns":${micros * 1000n},"schema":${text(schema)},"table":${text(table)},"txId":${xid},` +
      `"lsn":${BigInt.asIntN(64, commitLsn)},"xmin":null,"origin":null,"origin_lsn":null}`
    );
  }

  #row(row: RowFields | undefined, part: 'a' | 'b'): string {
    return row === undefined ? 'null' : this.#record(this.#fields, row, part);
  }

  #record(fields: readonly JsonField[], row: RowFields, part: 'a' | 'b' | 'k'): string {
    return `{${fields.map((field) => field.label + this.#field(field, row, part)).join(',')}}`;
  }

  #field(field: JsonField, { buffer, from, length }: RowFields, part: 'a' | 'b' | 'k'): string {
    const bytes = length[field.index]!;
    const isOptional = field.type.optional === true;
    if (isOptional && (bytes === NULL_FIELD || (bytes < 0 && part !== 'a'))) return 'null';
    if (bytes < 0) return isOptional && !hasPlaceholder(field.form) ? 'null' : jsonPlaceholder(field.form);
    const text = buffer.subarray(from[field.index], from[field.index]! + bytes);
    const value = jsonOf(field.form, text);
    if (value?.isExact !== true) {
      const exact = part === 'k' ? this.#keyExact : this.#exact;
      exact.add(part, field.column ?? field.name, text.toString('utf8'));
    }
    return value?.json ?? (isOptional ? 'null' : jsonPlaceholder(field.form));
  }
}
