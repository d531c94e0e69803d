/**
 * The types that a column's values are made of: elements, attributes, bounds, what a domain rests on. Guarantee: no part is left out
 * whose type the catalogue was read with; each is named as `format_type` writes it, without modifier and brackets.
 */
import { quoteIdent, type CatalogColumn, type CatalogType } from '../table.ts';

export type TypeParts = (column: CatalogColumn) => readonly string[];

/** Types whose text names an object: it changes when that object is renamed or dropped, while the row stays as it is. */
export const NAMES_OBJECTS: ReadonlySet<string> = new Set([
  'regclass', 'regproc', 'regprocedure', 'regoper', 'regoperator', 'regtype', 'regrole', 'regnamespace', 'regconfig', 'regdictionary',
  'regcollation', 'regdatabase', 'aclitem',
]); // prettier-ignore

export function typeParts(types: readonly CatalogType[]): TypeParts {
  const byName = new Map<string, CatalogType>();
  for (const type of types) {
    for (const schema of spellings(type.schema)) for (const name of spellings(type.name)) byName.set(`${schema}.${name}`, type);
  }
  const collect = (name: string, into: Set<string>): void => {
    const plain = withoutModifier(name);
    if (into.has(plain)) return;
    into.add(plain);
    const type = byName.get(plain);
    if (type === undefined) return;
    for (const attribute of type.attributes) collect(attribute.type, into);
    if (type.base !== undefined) collect(type.base, into);
  };
  return (column) => {
    const found = new Set<string>();
    collect(column.baseType, found);
    if (column.domainBase !== undefined) collect(column.domainBase.baseType, found);
    return [...found];
  };
}

/** format_type quotes only where it must. */
function spellings(name: string): readonly string[] {
  return [name, quoteIdent(name)];
}

/** `character varying(30)[]` → `character varying`; a modifier may stand inside: `timestamp(3) with time zone`. */
function withoutModifier(type: string): string {
  return type.replace(/(?:\[\])+$/, '').replace(/\(\d[\d,-]*\)(?=$| )/, '');
}
