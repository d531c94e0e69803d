/**
 * Of which columns digests can be kept from the change stream, and in which form. Guarantee: under the form given, the source's output text
 * is what the target prints for the value that the pipeline writes; of any other column it is said why not, and none is passed over.
 */
import type { ColumnMapping } from '../mapping/compiled-mapping.ts';
import { underDomain } from '../mapping/type-fit.ts';
import type { ValueForm } from './canonical-form.ts';
import { NAMES_OBJECTS, type TypeParts } from './type-parts.ts';

export type Standing = { readonly kind: 'kept'; readonly form: ValueForm } | { readonly kind: 'refused'; readonly why: string };

const INTEGERS = ['smallint', 'integer', 'bigint'];
const TEXTS: ReadonlySet<string> = new Set(['text', 'character varying']);
const PADDED: ReadonlySet<string> = new Set(['bpchar', 'character']);
/** Before this version `"char"` prints a byte above 127 as it is, which is no UTF-8. */
const PRINTABLE_CHAR_VERSION = 16;

export interface StandingContext {
  /** The source's major version. */
  readonly version: number;
  readonly parts: TypeParts;
  /** The column is computed by steps of the file. */
  readonly computed: boolean;
}

export function standingOf(column: ColumnMapping, { version, parts, computed }: StandingContext): Standing {
  const { source, targetBaseType } = column;
  if (computed)
    return TEXTS.has(targetBaseType) ? keep('exact') : refuse(`only a server knows how ${targetBaseType} prints what steps compute`);
  if (parts(source).some((type) => NAMES_OBJECTS.has(type)))
    return refuse(`the text of ${source.baseType} changes with the catalogue, not with the row`);
  if (version < PRINTABLE_CHAR_VERSION && parts(source).includes('"char"'))
    return refuse(`"char" has bytes that are no text before PostgreSQL ${PRINTABLE_CHAR_VERSION}`);
  if (column.cast !== undefined && !keepsValue(column)) return refuse(`its cast to ${targetBaseType} is computed by a server`);
  if (column.cast === undefined && !keepsText(column)) return refuse(`${source.baseType} is printed otherwise as ${targetBaseType}`);
  return keep(formOf(column));
}

/** The source's output text, read by the target type and written again, is that same text. */
function keepsText({ source, targetBaseType }: ColumnMapping): boolean {
  const { baseType } = underDomain(source);
  if (TEXTS.has(targetBaseType) || source.baseType === targetBaseType || baseType === targetBaseType) return true;
  const from = INTEGERS.indexOf(baseType);
  return from >= 0 && (targetBaseType === 'numeric' || INTEGERS.indexOf(targetBaseType) >= from);
}

/** A cast that changes no value but the zeros or blanks that the form takes off: to a numeric of no smaller scale, a char(n) no shorter. */
function keepsValue({ source, targetType, targetBaseType }: ColumnMapping): boolean {
  const { baseType, type } = underDomain(source);
  if (targetBaseType === 'numeric') return (baseType === 'numeric' || INTEGERS.includes(baseType)) && scaleOf(type) <= scaleOf(targetType);
  return PADDED.has(targetBaseType) && PADDED.has(baseType) && lengthOf(type) <= lengthOf(targetType);
}

/** Most digits behind the point. */
function scaleOf(type: string): number {
  const modifier = /^numeric\(\d+(?:,(-?\d+))?\)$/.exec(type);
  if (modifier !== null) return Number(modifier[1] ?? 0);
  return type === 'numeric' ? Infinity : 0;
}

function lengthOf(type: string): number {
  return Number(/\((\d+)\)$/.exec(type)?.[1] ?? Infinity);
}

function formOf({ source, targetType, targetBaseType }: ColumnMapping): ValueForm {
  if (source.type === targetType) return 'exact';
  if (targetBaseType === 'numeric') return 'scaled';
  return PADDED.has(targetBaseType) ? 'unpadded' : 'exact';
}

function keep(form: ValueForm): Standing {
  return { kind: 'kept', form };
}

function refuse(why: string): Standing {
  return { kind: 'refused', why };
}
