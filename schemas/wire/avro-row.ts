/**
 * Rows in Avro: a writer for the columns of a shape, a reader compiled from any record's schema. Guarantee: the reader gives the texts
 * that the writer was given, but for those that the writer named as not exact.
 */
import type { AvroCursor } from './avro-primitives.ts';
import { branchOf, eachBlock, readAny } from './avro-any.ts';
import { connectOf, type AvroField, type AvroType } from './avro-schema.ts';
import { hasPlaceholder, isPlaceholder, readValue, writePlaceholder, writeValue } from './avro-value.ts';
import type { WireField } from './envelope-type.ts';
import type { ExactCollector } from './exact-text.ts';
import { EXACT, type Form, NONE } from './form/form.ts';
import { formOf } from './form/form-of-type.ts';
import type { RowBuffer } from './row-buffer.ts';
import { Slab } from './slab.ts';
import { isOneOf, refuseJavaArray, unavailableTexts } from './unavailable.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from './wire.ts';

/** Writes the fields of one record. */
export class AvroRowWriter {
  readonly #forms: readonly Form[];
  readonly #fields: readonly WireField[];
  readonly #optional: readonly boolean[];
  readonly #index: readonly number[];

  constructor(fields: readonly WireField[]) {
    this.#fields = fields;
    this.#forms = fields.map((field) => formOf(field.type));
    this.#optional = fields.map((field) => field.type.optional === true);
    this.#index = fields.map((field) => field.index);
  }

  write(out: Slab, row: RowFields, exact: ExactCollector, part: 'a' | 'b' | 'k'): void {
    const { buffer, from, length } = row;
    const forms = this.#forms;
    for (let i = 0; i < forms.length; i++) {
      const field = this.#index[i]!;
      const bytes = length[field]!;
      const form = forms[i]!;
      const isOptional = this.#optional[i]!;
      if (bytes < 0) {
        this.#writeMissing(out, form, isOptional, part === 'a' ? bytes : NULL_FIELD);
        continue;
      }
      const start = from[field]!;
      const before = out.used;
      if (isOptional) out.byte(2);
      const outcome = writeValue(form, out, buffer, start, start + bytes);
      if (outcome === EXACT) continue;
      if (outcome === NONE) {
        out.rewind(before);
        if (isOptional) out.byte(0);
        else writePlaceholder(form, out);
      }
      exact.add(part, this.#columnName(i), buffer.toString('utf8', start, start + bytes));
    }
  }

  #writeMissing(out: Slab, form: Form, isOptional: boolean, length: number): void {
    if (isOptional && (length === NULL_FIELD || !hasPlaceholder(form))) {
      out.byte(0);
      return;
    }
    if (isOptional) out.byte(2);
    writePlaceholder(form, out);
  }

  #columnName(i: number): string {
    const field = this.#fields[i]!;
    return field.column ?? field.name;
  }
}

/** A field as the reader needs it. `nullBranch` -1: not a union; -2: a union of more than null and one other. */
interface FieldPlan {
  readonly form: Form;
  readonly type: AvroType;
  readonly nullBranch: number;
  readonly column: string;
  /** Texts that stand for a value that was not carried. */
  readonly unavailable: readonly Buffer[];
}

function planOf({ type, column }: AvroField): FieldPlan {
  const plan = (of: AvroType, nullBranch: number): FieldPlan => {
    const form = formOf(connectOf(of));
    return { form, type: of, nullBranch, column, unavailable: unavailableTexts(form) };
  };
  if (type.kind !== 'union') return plan(type, -1);
  const nullAt = type.branches.findIndex((branch) => branch.kind === 'null');
  if (type.branches.length !== 2 || nullAt < 0) return plan(type, -2);
  return plan(type.branches[1 - nullAt]!, nullAt);
}

/** Reads one record of a schema. */
export class AvroRowReader {
  readonly columns: readonly string[];
  readonly #plans: readonly FieldPlan[];
  /** Others mark absent values by a text. */
  readonly #seesPlaceholders: boolean;

  constructor(fields: readonly AvroField[], seesPlaceholders: boolean) {
    this.columns = fields.map((field) => field.column);
    this.#plans = fields.map(planOf);
    this.#seesPlaceholders = seesPlaceholders;
  }

  read(cursor: AvroCursor, row: RowBuffer): void {
    row.begin();
    const plans = this.#plans;
    const { out, from, length } = row;
    for (let i = 0; i < plans.length; i++) {
      const plan = plans[i]!;
      const start = out.pos;
      from[i] = start;
      if (plan.nullBranch >= 0 && cursor.size() === plan.nullBranch) {
        length[i] = NULL_FIELD;
        continue;
      }
      const at = cursor.at;
      length[i] = readTyped(plan.type, plan.form, cursor, out) ? out.pos - start : NULL_FIELD;
      if (this.#seesPlaceholders && length[i] !== NULL_FIELD && standsForAbsent(plan, cursor, { at, out, start })) length[i] = ABSENT_FIELD;
    }
    row.end();
  }
}

/** The value read from `at` on, and the text written of it from `start` on. */
interface JustRead {
  readonly at: number;
  readonly out: Slab;
  readonly start: number;
}

function standsForAbsent(plan: FieldPlan, cursor: AvroCursor, { at, out, start: from }: JustRead): boolean {
  if (plan.form.kind === 'array') refuseJavaArray(plan.column, out.buffer, from, out.pos);
  if (plan.unavailable.length > 0 && isOneOf(plan.unavailable, out.buffer, from, out.pos)) return true;
  if (plan.type.kind !== 'plain' || (plan.type.base !== 'string' && plan.type.base !== 'bytes')) return false;
  const end = cursor.at;
  cursor.at = at;
  const start = cursor.span();
  cursor.at = end;
  return isPlaceholder(cursor.b, start, end);
}

/** False: it was null (of a union of several types). */
function readTyped(type: AvroType, form: Form, cursor: AvroCursor, out: Slab): boolean {
  if (type.kind === 'plain') readValue(form, cursor, out);
  else if (type.kind === 'record' && form.kind === 'scaled') readValue(form, cursor, out);
  else return readComposed(type, form, cursor, out);
  return true;
}

function readComposed(type: AvroType, form: Form, cursor: AvroCursor, out: Slab): boolean {
  if (type.kind === 'array' && form.kind === 'array') {
    const items: (string | null)[] = [];
    eachBlock(cursor, () => items.push(readElement(type.items, form.items, cursor)));
    out.utf8(form.render(items));
  } else if (type.kind === 'union') {
    const branch = branchOf(type.branches, cursor);
    return branch.kind !== 'null' && readTyped(branch, formOf(connectOf(branch)), cursor, out);
  } else if (type.kind === 'fixed' && form.kind === 'bytes') {
    form.render(out, cursor.b, cursor.at, (cursor.at += type.size));
  } else {
    const value = readAny(type, cursor);
    out.utf8(form.kind === 'foreign' ? form.render(value) : String(value));
  }
  return true;
}

function readElement(type: AvroType, form: Form, cursor: AvroCursor): string | null {
  const branch = type.kind === 'union' ? branchOf(type.branches, cursor) : type;
  if (branch.kind === 'null') return null;
  const item = new Slab(64);
  readTyped(branch, form, cursor, item);
  return item.take().toString('utf8');
}
