/** Extensions and user types that drafted tables need. Guarantee: each is created before what uses it, and only when it is missing. */
import { quoteIdent, quoteLiteral, type Catalog, type CatalogColumn, type CatalogType } from '../table.ts';

export function createExtensions(columns: readonly CatalogColumn[], source: Catalog, target: Catalog): string[] {
  const byOid = new Map(source.types.map((type) => [type.oid, type]));
  const used = new Set(columns.map((column) => column.extension ?? byOid.get(column.typeOid)?.extension));
  const missing = source.extensions.filter((one) => used.has(one.name) && !target.extensions.some((other) => other.name === one.name));
  const schemas = new Set(missing.map((one) => one.schema).filter((schema) => !target.schemas.includes(schema) && schema !== 'public'));
  return [
    ...[...schemas].map((schema) => `CREATE SCHEMA IF NOT EXISTS ${quoteIdent(schema)};`),
    ...missing.map((one) => `CREATE EXTENSION IF NOT EXISTS ${quoteIdent(one.name)} WITH SCHEMA ${quoteIdent(one.schema)};`),
  ];
}

export function createTypes(columns: readonly CatalogColumn[], source: Catalog, target: Catalog): string[] {
  const own = source.types.filter((type) => type.extension === undefined);
  const byName = new Map(own.map((type) => [sqlName(type), type]));
  const needed = new Set<CatalogType>();
  const need = (text: string): void => {
    const name = elementName(text);
    const type = byName.get(name) ?? byName.get(name.replace('multirange', 'range'));
    if (type === undefined || needed.has(type)) return;
    for (const part of [...type.attributes.map((one) => one.type), ...(type.base === undefined ? [] : [type.base])]) need(part);
    // Added after its parts: a Set keeps the order of insertion.
    needed.add(type);
  };
  for (const column of columns) need(column.baseType);
  const existing = new Set(target.types.map(sqlName));
  const missing = [...needed].filter((type) => !existing.has(sqlName(type)));
  const schemas = new Set(missing.map((type) => type.schema).filter((schema) => !target.schemas.includes(schema)));
  return [...[...schemas].map((schema) => `CREATE SCHEMA IF NOT EXISTS ${quoteIdent(schema)};`), ...missing.map(createType)];
}

function createType(type: CatalogType): string {
  const name = `${quoteIdent(type.schema)}.${quoteIdent(type.name)}`;
  if (type.kind === 'e') return `CREATE TYPE ${name} AS ENUM (${type.labels.map((label) => quoteLiteral(label).trim()).join(', ')});`;
  if (type.kind === 'c')
    return `CREATE TYPE ${name} AS (${type.attributes.map((one) => `${quoteIdent(one.name)} ${one.type}`).join(', ')});`;
  const { collation } = type;
  const known = collation?.startsWith('pg_catalog.') === true;
  const note = collation === undefined || known ? '' : `-- ${name} has COLLATE ${collation} on the source\n`;
  if (type.kind === 'r')
    return `${note}CREATE TYPE ${name} AS RANGE (SUBTYPE = ${type.base ?? ''}${known ? `, COLLATION = ${collation}` : ''});`;
  const checks = type.checks.map((check) => ` CONSTRAINT ${quoteIdent(check.name)} ${check.definition}`).join('');
  const byDefault = type.defaultSql === undefined ? '' : ` DEFAULT ${type.defaultSql}`;
  return `${note}CREATE DOMAIN ${name} AS ${type.base ?? ''}${known ? ` COLLATE ${collation}` : ''}${byDefault}${type.notNull ? ' NOT NULL' : ''}${checks};`;
}

/** As format_type prints it: quoted only where it must be. */
function sqlName(type: CatalogType): string {
  return `${plainIdent(type.schema)}.${plainIdent(type.name)}`;
}

function plainIdent(name: string): string {
  return /^[a-z_\u0080-\uffff][a-z0-9_$\u0080-\uffff]*$/.test(name) ? name : quoteIdent(name);
}

/** `shop.mood[]` → `shop.mood`. */
function elementName(type: string): string {
  return type.replace(/\(.*\)/, '').replaceAll('[]', '');
}
