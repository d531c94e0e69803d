/**
 * Values of a column as PostgreSQL would print them, as far as that is known without a server. Guarantee: what is given is what the server
 * gives too; where only a server knows, nothing is given.
 */
import type { CatalogColumn } from '../table.ts';
import type { ColumnMapping } from './compiled-mapping.ts';
import { canonicalOf } from './row-filter.ts';
import { castStep } from './steps/cast-step.ts';
import { StepFault, StepRefusal } from './steps/step.ts';
import { zoneStep } from './steps/zone-step.ts';
import { underDomain } from './type-fit.ts';

type ColumnType = Pick<ColumnMapping, 'targetType' | 'targetBaseType'>;

const JSON_TYPES: ReadonlySet<string> = new Set(['json', 'jsonb']);

const readers = new Map<string, ((text: string) => string | undefined) | undefined>();

/** Reads a text as a value of the type, for types whose spelling is known; undefined: the text stands as it is. */
function readerOf({ targetType, targetBaseType }: ColumnType): ((text: string) => string | undefined) | undefined {
  const type = targetBaseType === 'numeric' ? targetType : targetBaseType;
  if (!readers.has(type)) readers.set(type, castReader(type));
  return readers.get(type);
}

function castReader(type: string): ((text: string) => string | undefined) | undefined {
  // They keep their text, or are printed in a way of the server's own.
  if (JSON_TYPES.has(type)) return undefined;
  try {
    const { apply } = castStep({ to: type, onError: 'fail' });
    return (text) => {
      try {
        return (apply as (value: string) => string)(text);
      } catch (error) {
        if (error instanceof StepRefusal) return undefined;
        throw error;
      }
    };
  } catch (error) {
    if (error instanceof StepFault) return undefined;
    throw error;
  }
}

/** A value of a test as the source would print it; undefined where it is no value of the column. */
export function sourceText(column: CatalogColumn, text: string): string | undefined {
  const canonical = canonicalOf(column);
  if (canonical !== undefined) return canonical(text);
  const { type, baseType } = underDomain(column);
  const reader = readerOf({ targetType: type, targetBaseType: baseType });
  return reader === undefined ? text : reader(text);
}

/** What the target's column prints of a text that it reads; the text itself where that is not known. */
export function targetText(type: ColumnType, text: string): string {
  return readerOf(type)?.(text) ?? text;
}

/** Whether the target's column holds the same for both. */
export function sameTargetValue(type: ColumnType, one: string | null, other: string | null): boolean {
  if (one === null || other === null) return one === other;
  if (targetText(type, one) === targetText(type, other)) return true;
  if (!JSON_TYPES.has(type.targetBaseType)) return false;
  const [first, second] = [parseJson(one), parseJson(other)];
  return first !== undefined && first === second;
}

/** In one spelling: members in one order, numbers by their digits. */
function parseJson(text: string): string | undefined {
  try {
    const value = JSON.parse(text, (_key, inner: unknown, context?: { readonly source?: string }) => {
      if (typeof inner === 'number') return `#${context?.source ?? inner}`;
      if (typeof inner === 'string') return `"${inner}`;
      if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
      // No text begins like this here, so an object is never taken for an array.
      return ['{}', ...Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1))];
    }) as unknown;
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);
/** Casts of these to text are their text; boolean and char(n) print otherwise. */
const PLAIN_TEXT: ReadonlySet<string> = new Set([
  ...WHOLE,
  'numeric',
  'uuid',
  'date',
  'timestamp without time zone',
  'text',
  'character varying',
]);
/** Read from text, or from one of PLAIN_TEXT, as a step reads them. */
const PLAIN_TARGET: ReadonlySet<string> = new Set([...WHOLE, 'numeric', 'uuid', 'date', 'timestamp without time zone', 'boolean']);
const ZONE = /^\(\$\$ AT TIME ZONE '([^']+)'\)$/;

/** What a cast of the server's gives; undefined where only the server knows. */
export function castText({ source, cast, targetType, targetBaseType }: ColumnMapping, text: string): string | undefined {
  if (cast === undefined) return text;
  const zone = ZONE.exec(cast.sql)?.[1];
  if (zone !== undefined) return zoned(text, zone, cast.fromType === 'timestamp without time zone');
  const from = underDomain(source).baseType;
  if (targetType === 'text') return PLAIN_TEXT.has(from) ? text : undefined;
  // Precision of a timestamp rounds.
  if (targetType !== targetBaseType && targetBaseType !== 'numeric') return undefined;
  if (!PLAIN_TARGET.has(targetBaseType) || !PLAIN_TEXT.has(from)) return undefined;
  return readerOf({ targetType, targetBaseType })?.(text);
}

/** As AT TIME ZONE does: the later offset where the clocks show a time twice or never. */
function zoned(text: string, zone: string, isLocal: boolean): string | undefined {
  try {
    const block = isLocal ? { from: zone } : { to: zone };
    return (zoneStep({ ...block, ambiguous: 'later', skipped: 'later' }).apply as (value: string) => string)(text);
  } catch (error) {
    if (error instanceof StepRefusal) return undefined;
    throw error;
  }
}
