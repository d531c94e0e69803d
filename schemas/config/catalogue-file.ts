/**
 * The two catalogues beside the migration file (`migration.catalogue.json`), as far as the mapping needs them. Guarantee: the same tables
 * give the same text on whatever server they stand (no OIDs of its own, no sizes, no counts), a line for each column, so that a change is
 * a line of a diff; and the mapping compiled from it is the one compiled from the servers.
 */
import { z } from 'zod';
import { PipelineError } from '../errors.ts';
import { FindingList } from '../mapping/finding-list.ts';
import { redisCatalog } from '../mapping/redis/redis-catalog.ts';
import { resolveTables } from '../mapping/resolve-tables.ts';
import { showTable } from '../mapping/table-pattern.ts';
import { tableId } from '../mapping/compiled-mapping.ts';
import type { Catalog, CatalogColumn, CatalogTable } from '../table.ts';
import type { MigrationFile } from './migration-file.ts';

/** Of the form of the file; another is refused. */
const VERSION = 1;
/** Those of PostgreSQL itself lie below, the same on every server. */
const FIRST_USER_OID = 16_384;

export interface Catalogues {
  readonly source: Catalog;
  /** Absent where the target has none. */
  readonly target?: Catalog;
}

/** `migration.yaml` → `migration.catalogue.json`; of one of several targets `migration.TARGET.catalogue.json` */
export function cataloguePath(file: string, target?: string): string {
  return `${file.replace(/\.ya?ml$/, '')}${target === undefined ? '' : `.${target}`}.catalogue.json`;
}

/** Only what the file's tables rest on. */
export function renderCatalogues(file: MigrationFile, { source, target }: Catalogues): string {
  const counterpart = target ?? redisCatalog(file, source);
  const resolved = resolveTables(file, source, counterpart, new FindingList(file.path));
  const sources = new Set(resolved.map((one) => tableId(one.source)));
  const targets = new Set(resolved.map((one) => tableId(one.to)));
  const kept = {
    crossfade: VERSION,
    source: stable(source, sources),
    ...(target !== undefined && { target: stable(target, targets) }),
  };
  return `${print(kept, 0)}\n`;
}

/** @throws PipelineError CF-1010 */
export function parseCatalogues(text: string, path: string): Catalogues {
  const parsed = shape.safeParse(fromJson(text));
  if (parsed.success) return parsed.data as unknown as Catalogues;
  throw new PipelineError('CF-1010', `${path} is not a file of catalogues of this version`, { path });
}

/** Tables that differ between the two texts, by side. */
export function changedTables(kept: Catalogues, now: Catalogues): string[] {
  return (['source', 'target'] as const).flatMap((side) => {
    const [before, after] = [tablesOf(kept[side]), tablesOf(now[side])];
    const names = new Set([...before.keys(), ...after.keys()]);
    return [...names].filter((name) => before.get(name) !== after.get(name)).map((name) => `${name} (${side})`);
  });
}

function tablesOf(catalog: Catalog | undefined): Map<string, string> {
  return new Map((catalog?.tables ?? []).map((table) => [showTable(table), JSON.stringify(table)]));
}

const table = z.looseObject({
  schema: z.string(),
  name: z.string(),
  columns: z.array(z.looseObject({ name: z.string(), type: z.string() })),
});
const catalog = z.looseObject({ tables: z.array(table), types: z.array(z.unknown()), schemas: z.array(z.string()) });
const shape = z.object({ crossfade: z.literal(VERSION), source: catalog, target: catalog.optional() });

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function stable(full: Catalog, wanted: ReadonlySet<string>): Catalog {
  const tables = full.tables.filter((one) => wanted.has(tableId(one)));
  const used = new Set(tables.flatMap(({ columns }) => columns.flatMap(oidsOf)));
  const types = full.types.filter(({ oid }) => used.has(oid));
  const numberOf = numbering(types, tables);
  return {
    serverVersion: Math.floor(full.serverVersion / 10_000) * 10_000,
    database: '',
    encoding: '',
    collation: '',
    tables: tables.map((one) => stableTable(one, numberOf)),
    types: types.map((type) => ({ ...type, oid: numberOf(type.oid) })),
    sequences: [],
    oddities: [],
    extensions: [],
    schemas: [...new Set(tables.map(({ schema }) => schema))].toSorted(),
    largeObjects: 0,
    ...(full.casts !== undefined && { casts: full.casts.toSorted() }),
  };
}

function oidsOf({ typeOid, elementOid, domainBase }: CatalogColumn): number[] {
  return [typeOid, elementOid, ...(domainBase === undefined ? [] : [domainBase.typeOid, domainBase.elementOid])];
}

/** Numbers by name in place of a server's own OIDs. */
function numbering(types: Catalog['types'], tables: readonly CatalogTable[]): (oid: number) => number {
  const names = new Map<number, string>();
  for (const { columns } of tables) {
    for (const { typeOid, elementOid, baseType, domainBase } of columns) {
      for (const one of [{ typeOid, elementOid, baseType }, ...(domainBase === undefined ? [] : [domainBase])]) {
        names.set(one.typeOid, one.baseType);
        if (one.elementOid !== 0) names.set(one.elementOid, one.baseType.replace(/\[\]$/, ''));
      }
    }
  }
  for (const { oid, schema, name } of types) names.set(oid, `${schema}.${name}`);
  const own = [...names].filter(([oid]) => oid >= FIRST_USER_OID).toSorted(([, a], [, b]) => (a < b ? -1 : 1));
  const numbers = new Map(own.map(([oid], i) => [oid, FIRST_USER_OID + i]));
  return (oid) => numbers.get(oid) ?? oid;
}

/** Without what makes no difference to a row: a new partition or a trigger must not make the file look old. */
function stableTable({ checks: _checks, ...one }: CatalogTable, numberOf: (oid: number) => number): CatalogTable {
  return {
    ...one,
    oid: 0,
    rowEstimate: 0,
    bytes: 0,
    relfilenode: 0,
    rowSecurity: false,
    columns: one.columns.map((column) => stableColumn(column, numberOf)),
    foreignKeys: [],
    triggers: [],
    leaves: [],
  };
}

function stableColumn(
  { defaultSql: _default, ownsSequence: _owns, ...column }: CatalogColumn,
  numberOf: (oid: number) => number,
): CatalogColumn {
  const { domainBase } = column;
  return {
    ...column,
    typeOid: numberOf(column.typeOid),
    elementOid: numberOf(column.elementOid),
    ...(domainBase !== undefined && {
      domainBase: { ...domainBase, typeOid: numberOf(domainBase.typeOid), elementOid: numberOf(domainBase.elementOid) },
    }),
  };
}

/** Deep enough for a line to each column; what lies deeper stands in it. */
const LINES_DEPTH = 5;

function print(value: unknown, depth: number): string {
  if (typeof value !== 'object' || value === null || depth >= LINES_DEPTH || isPlainList(value)) return JSON.stringify(value);
  const inner = '  '.repeat(depth + 1);
  const entries = Array.isArray(value)
    ? value.map((one) => print(one, depth + 1))
    : Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${print(one, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return entries.length === 0
    ? `${open}${close}`
    : `${open}\n${entries.map((one) => inner + one).join(',\n')}\n${'  '.repeat(depth)}${close}`;
}

function isPlainList(value: object): boolean {
  return Array.isArray(value) && value.every((one) => typeof one !== 'object' || one === null);
}
