/**
 * Forms: how a value's PostgreSQL text becomes what goes on the wire, and back. Guarantee: a form says `exact` of a text only when
 * reading what it wrote gives that text again, byte for byte; whatever else it cannot carry is left to the exact header.
 */
import type { ConnectType } from '../connect-type.ts';
import type { Slab } from '../slab.ts';

/** What writing came to. */
export const EXACT = 0;
/** Something was written that is near the value. */
export const NEAREST = 1;
/** Nothing was written: the type has no form for it. */
export const NONE = 2;
export type Outcome = typeof EXACT | typeof NEAREST | typeof NONE;

interface FormOf<Kind extends string> {
  readonly kind: Kind;
  readonly type: ConnectType;
}

/** The text as it is. */
export type TextForm = FormOf<'text'>;

/** Whole numbers of up to 64 bits, as a number below 2^52. */
export interface IntegerForm extends FormOf<'integer'> {
  /** `parse` takes only texts that `render` gives back: no need to compare. */
  readonly strict: boolean;
  /** Undefined: it has no form. */
  parse(b: Buffer, from: number, to: number): number | bigint | undefined;
  render(out: Slab, value: number | bigint): void;
}

export interface BooleanForm extends FormOf<'boolean'> {
  parse(b: Buffer, from: number, to: number): boolean | undefined;
  render(out: Slab, value: boolean): void;
}

export interface FloatForm extends FormOf<'float'> {
  readonly single: boolean;
  parse(b: Buffer, from: number, to: number): number | undefined;
  render(out: Slab, value: number): void;
}

/** Text of another shape than PostgreSQL's. */
export interface StringForm extends FormOf<'string'> {
  /** May give a text near the value; whether it is exact is seen by rendering it. */
  parse(text: string): string | undefined;
  render(value: string): string;
  /** Without strings, for values of the usual shape, which it carries exactly; false and nothing written: not one of them. */
  readonly direct?: {
    write(b: Buffer, from: number, to: number, out: Slab): boolean;
    read(b: Buffer, from: number, to: number, out: Slab): boolean;
  };
}

export interface BytesForm extends FormOf<'bytes'> {
  readonly strict: boolean;
  /** Appends the bytes to `out`; false, and nothing appended, when there is no form. */
  parse(b: Buffer, from: number, to: number, out: Slab): boolean;
  render(out: Slab, b: Buffer, from: number, to: number): void;
}

export interface ArrayForm extends FormOf<'array'> {
  readonly items: Form;
  /** Elements of a one-dimensional array whose bounds begin at 1; undefined for any other. */
  parse(text: string): (string | null)[] | undefined;
  render(items: readonly (string | null)[]): string;
}

/** VariableScaleDecimal: a number with the scale it was written with. */
export interface ScaledForm extends FormOf<'scaled'> {
  parse(text: string): { readonly scale: number; readonly unscaled: bigint } | undefined;
  render(scale: number, unscaled: bigint): string;
}

/** Structures that only others write (points, vectors): read from their fields, never written. */
export interface ForeignForm extends FormOf<'foreign'> {
  render(value: unknown): string;
}

export type Form = TextForm | IntegerForm | BooleanForm | FloatForm | StringForm | BytesForm | ArrayForm | ScaledForm | ForeignForm;
