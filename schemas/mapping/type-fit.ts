/**
 * Whether a value's text passes from one type into another. Guarantee: `same` means that every value of the source type is read by
 * the target type's input function and printed again with the very same text; `convert` that every value is kept but printed otherwise
 * (1.5 in numeric(6,3) is 1.500), so that both servers must apply the same cast; all else needs a cast declared in the file. Both are
 * injective, so keys may pass.
 */
import type { Catalog, CatalogColumn, CatalogType } from '../table.ts';
import { fitModifiers, numericSize } from './type-modifier.ts';

export type Fit =
  | { readonly kind: 'same' }
  | { readonly kind: 'convert' }
  /** `advice` is what the file may say instead; undefined when nothing in the file helps. */
  | { readonly kind: 'no'; readonly why: string; readonly advice?: 'cast' | 'zone' };

/** User types of both catalogues by OID, for comparing enums and composites part by part. */
export interface TypeWorld {
  readonly source: ReadonlyMap<number, CatalogType>;
  readonly target: ReadonlyMap<number, CatalogType>;
  /** Whether both servers can cast between two built-in types, by pg_type name. */
  canCast(from: string, to: string): boolean;
}

export function typeWorld(source: Catalog, target: Catalog): TypeWorld {
  const byOid = (catalog: Catalog): Map<number, CatalogType> => new Map(catalog.types.map((type) => [type.oid, type]));
  const [sourceCasts, targetCasts] = [castsOf(source), castsOf(target)];
  const canCast = (from: string, to: string): boolean =>
    from === to || isText(from) || isText(to) || (sourceCasts(`${from} to ${to}`) && targetCasts(`${from} to ${to}`));
  return { source: byOid(source), target: byOid(target), canCast };
}

function castsOf({ casts }: Catalog): (cast: string) => boolean {
  const known = new Set(casts);
  return casts === undefined ? (): boolean => true : (cast): boolean => known.has(cast);
}

/** Any type is cast to and from text through its text form. */
function isText(name: string): boolean {
  return name === 'text' || name === 'varchar' || name === 'bpchar' || name === 'name';
}

export function no(why: string, advice: 'cast' | 'zone' | undefined = 'cast'): Fit {
  return { kind: 'no', why, ...(advice !== undefined && { advice }) };
}

export function fitTypes(source: CatalogColumn, target: CatalogColumn, world: TypeWorld): Fit {
  if (target.typtype === 'd' && !(source.typtype === 'd' && source.typeName === target.typeName)) {
    return no('the domain may refuse values that the source type allows');
  }
  if (source.typtype === 'd' || target.typtype === 'd') return fitTypes(underDomain(source), underDomain(target), world);
  if ((source.elementOid === 0) !== (target.elementOid === 0)) return no('an array is not a single value');
  if (source.builtin !== target.builtin) return no('they are different types');
  return source.builtin ? fitBuiltin(source, target) : fitUserTypes(source, target, world);
}

/** The column as if it were declared with the type under its domain. */
export function underDomain(column: CatalogColumn): CatalogColumn {
  if (column.typtype !== 'd' || column.domainBase === undefined) return column;
  const { extension: _, delimiter: _comma, ...rest } = column;
  return { ...rest, ...column.domainBase };
}

function nameOf(column: CatalogColumn): string {
  return column.typeName ?? column.baseType;
}

/** Digits that any value of a whole-number type has at most. */
const WHOLE_DIGITS: Readonly<Record<string, number>> = { int2: 5, int4: 10, int8: 19 };

/** Pairs that keep every value whatever the modifiers; the rest is decided below. */
const WIDER: Readonly<Record<string, Readonly<Record<string, 'same' | 'convert'>>>> = {
  int2: { int4: 'same', int8: 'same', float4: 'same', float8: 'same' },
  int4: { int8: 'same', float8: 'same' },
  oid: { int8: 'same' },
  // 1000000 is 1e+06 as float4.
  float4: { float8: 'convert' },
  varchar: { text: 'same' },
  name: { text: 'same' },
  // 10.0.0.1/32 loses its mask.
  cidr: { inet: 'convert' },
  jsonb: { json: 'same' },
};

function fitBuiltin(source: CatalogColumn, target: CatalogColumn): Fit {
  const [from, to] = [nameOf(source), nameOf(target)];
  if (from === to) return fitModifiers(from, source.typmod, target.typmod);
  const wider = WIDER[from]?.[to];
  if (wider !== undefined) return { kind: wider };
  const digits = WHOLE_DIGITS[from];
  if (to === 'numeric' && digits !== undefined) return fitWholeNumber(digits, target.typmod);
  if (to === 'varchar' && from === 'text') return target.typmod < 0 ? { kind: 'same' } : no('longer values would be cut');
  if (to === 'varbit' && from === 'bit') return fitModifiers('varbit', source.typmod, target.typmod);
  return explain(from, to);
}

function fitWholeNumber(digits: number, typmod: number): Fit {
  const size = numericSize(typmod);
  if (size === undefined) return { kind: 'same' };
  if (size.precision - size.scale < digits || size.scale < 0) return no('larger numbers would not fit');
  return { kind: size.scale === 0 ? 'same' : 'convert' };
}

const ZONED: Readonly<Record<string, string>> = { timestamp: 'timestamptz', timestamptz: 'timestamp' };

function explain(from: string, to: string): Fit {
  if (ZONED[from] === to) return no('which moment a local time means depends on its time zone', 'zone');
  if (from === 'json' && to === 'jsonb') return no('jsonb keeps neither the order of keys, nor duplicate keys, nor white space');
  if (from === 'bpchar') return no('a char(n) is padded with blanks, which the cast takes off');
  return no('values may be lost or printed otherwise');
}

function fitUserTypes(source: CatalogColumn, target: CatalogColumn, world: TypeWorld): Fit {
  const [from, to] = [nameOf(source), nameOf(target)];
  if (from !== to || source.typtype !== target.typtype || source.extension !== target.extension) return no('they are different types');
  if (source.extension !== undefined) {
    return source.typmod === target.typmod || target.typmod < 0 ? { kind: 'same' } : no('their modifiers differ');
  }
  const one = world.source.get(source.elementOid || source.typeOid);
  const other = world.target.get(target.elementOid || target.typeOid);
  return one === undefined || other === undefined ? { kind: 'same' } : fitDefinitions(one, other);
}

function fitDefinitions(source: CatalogType, target: CatalogType): Fit {
  const missing = source.labels.filter((label) => !target.labels.includes(label));
  if (missing.length > 0) return no(`the target's enum lacks ${missing.map((label) => `"${label}"`).join(', ')}`, undefined);
  const parts = (type: CatalogType): string =>
    JSON.stringify([type.kind, type.attributes.map((one) => localName(one.type)), localName(type.base ?? ''), order(type)]);
  return parts(source) === parts(target) ? { kind: 'same' } : no('the two types of that name are defined differently', undefined);
}

/** A range's bounds are in the order of its collation: in another order they may be no range at all. */
function order({ kind, collation }: CatalogType): string {
  return kind === 'r' ? localName(collation ?? '') : '';
}

/** Type text without its schema, which may differ. */
function localName(type: string): string {
  return type.replace(/^(?:"(?:[^"]|"")+"|[\w$]+)\./, '');
}
