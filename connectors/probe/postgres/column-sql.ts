/**
 * SQL for one mapped column on both sides. Guarantee: the three expressions of a column give values whose output text is the same
 * exactly when the pipeline would have written that target value: a column without a cast is the source's *output text* read by the
 * target type's input function (never PostgreSQL's cast between the two types, which rounds, pads and trims on its own), a column with
 * a cast is that cast, then the assignment to the target type. Independent of the sink's SQL on purpose.
 */
import type { ColumnMapping } from '#schemas/mapping/compiled-mapping.ts';
import { sourceKeySql, type KeyMapColumn } from '#schemas/mapping/key-map.ts';

export interface ColumnSql {
  /** Over a reference to the source column. */
  readonly onSource: (ref: string) => string;
  /** Over an expression of type text that holds the source column's text; undefined: the text is the canonical one already. */
  readonly onText: ((text: string) => string) | undefined;
  /** Over a reference to the target column. */
  readonly onTarget: (ref: string) => string;
  /** False: the source server does not know the target's type, so texts are compared and a difference must be confirmed on the target. */
  readonly settled: boolean;
}

const same = (ref: string): string => ref;
const INTEGERS = ['smallint', 'integer', 'bigint'];
const TEXTS = ['text', 'character varying'];
const PADDED = ['bpchar', 'character'];

/** Types whose cast to text is their output function: cheaper than concat(). bool, bpchar, inet and xml are not among them. */
const PLAIN_OUTPUT: ReadonlySet<string> = new Set([
  ...INTEGERS,
  ...TEXTS,
  'numeric',
  'real',
  'double precision',
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'time without time zone',
  'time with time zone',
  'interval',
  'uuid',
  'json',
  'jsonb',
  'bytea',
]);

/** The output function's text, NULL kept. (A composite of NULLs IS NULL without being null, hence num_nulls.) */
export function outputText(expression: string, baseType?: string): string {
  if (baseType !== undefined && PLAIN_OUTPUT.has(baseType)) return `(${expression})::text`;
  return `CASE WHEN num_nulls(${expression}) = 0 THEN concat(${expression}) END`;
}

/** `known` tells whether the source server knows a type name. */
export function columnSql(column: ColumnMapping, known: (type: string) => boolean): ColumnSql {
  if (column.keyMap !== undefined) return keySql(column, column.keyMap);
  const { targetUnderDomain } = column;
  // What steps compute into a domain is read as what the domain rests on.
  if (targetUnderDomain !== undefined) return plainSql({ ...column, targetBaseType: targetUnderDomain }, known);
  return column.cast ? castSql(column, column.cast, known) : plainSql(column, known);
}

/** Ids are compared by the keys that they stand for; an id of nobody's equals none. */
function keySql({ source }: ColumnMapping, keyMap: KeyMapColumn): ColumnSql {
  return {
    onSource: (ref) => outputText(ref, source.baseType),
    onText: undefined,
    onTarget: (ref) => sourceKeySql(keyMap, ref),
    settled: true,
  };
}

function castSql(column: ColumnMapping, cast: NonNullable<ColumnMapping['cast']>, known: (type: string) => boolean): ColumnSql {
  const { source, targetBaseType } = column;
  // A type of the target's own is a domain here, and the cast is to what it rests on: the source's of that name may round or pad otherwise.
  const isDomain = targetBaseType.includes('.');
  const assigned = known(targetBaseType) && !isDomain ? (e: string): string => `((${e})::${targetBaseType})` : same;
  const over = (value: string): string => assigned(`(${cast.sql.split('$$').join(value)})`);
  const shape = normalForm(column, true);
  return {
    onSource: (ref) => shape(over(cast.fromType === source.baseType ? ref : `(${outputText(ref, source.baseType)})::${cast.fromType}`)),
    onText: (text) => shape(over(`(${text})::${cast.fromType}`)),
    onTarget: shape,
    settled: known(targetBaseType) || isDomain,
  };
}

function plainSql(column: ColumnMapping, known: (type: string) => boolean): ColumnSql {
  const { source, targetBaseType } = column;
  const shape = normalForm(column, false);
  if (keepsText(column)) {
    const onText = shape === same ? undefined : (text: string): string => shape(`(${text})::${targetBaseType}`);
    return { onSource: shape, onText, onTarget: shape, settled: true };
  }
  if (known(targetBaseType)) {
    return {
      onSource: (ref) => shape(`(${outputText(ref, source.baseType)})::${targetBaseType}`),
      onText: (text) => shape(`(${text})::${targetBaseType}`),
      onTarget: shape,
      settled: true,
    };
  }
  return { onSource: same, onText: undefined, onTarget: same, settled: source.baseType === targetBaseType };
}

/** The source's output text, read by the target type and written again, is that same text. */
function keepsText({ source, targetBaseType }: ColumnMapping): boolean {
  if (TEXTS.includes(targetBaseType) || source.baseType === targetBaseType) return true;
  const from = INTEGERS.indexOf(source.baseType);
  return from >= 0 && (targetBaseType === 'numeric' || INTEGERS.indexOf(targetBaseType) >= from);
}

/** numeric's scale and char(n)'s padding follow the modifier: where the two sides' modifiers may differ, both are taken off. */
function normalForm({ source, targetType, targetBaseType }: ColumnMapping, cast: boolean): (value: string) => string {
  if (!cast && source.type === targetType) return same;
  if (targetBaseType === 'numeric') return (value) => `trim_scale(${value})`;
  if (PADDED.includes(targetBaseType)) return (value) => `(${value})::text`;
  return same;
}
