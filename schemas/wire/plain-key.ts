/**
 * A key as the headers `__debezium.oldkey` and `__debezium.newkey` have it: what Connect's SimpleHeaderConverter, the default of its workers,
 * makes of a record. Guarantee: JSON of the key's fields, whatever the wire format; for other readers, as it need not be exact.
 */
import { rowFields, type WireField } from './envelope-type.ts';
import type { Form } from './form/form.ts';
import { formOf } from './form/form-of-type.ts';
import { jsonOf } from './json-value.ts';
import type { RowFields, WireShape } from './wire.ts';

interface KeyField {
  readonly field: WireField;
  readonly form: Form;
}

export class PlainKey {
  readonly #fields: readonly KeyField[];

  constructor(shape: WireShape) {
    const fields = rowFields(shape).filter((field) => shape.columns[field.index]!.isKey);
    this.#fields = fields.map((field) => ({ field, form: formOf(field.type) }));
  }

  of({ buffer, from, length }: RowFields): Buffer {
    const parts = this.#fields.map(({ field, form }) => {
      const start = from[field.index]!;
      const bytes = length[field.index]!;
      const value = bytes < 0 ? undefined : jsonOf(form, buffer.subarray(start, start + bytes));
      return `${JSON.stringify(field.name)}:${value?.json ?? 'null'}`;
    });
    return Buffer.from(`{${parts.join(',')}}`, 'utf8');
  }
}
