/** A mapping onto Redis without a source server: columns and keys as a catalogue would tell them. */
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRedisMapping, type RedisMappingResult } from '#schemas/mapping/redis/compile-redis.ts';
import type { Catalog, CatalogColumn, CatalogTable, ReplicaIdentity } from '#schemas/table.ts';

const OIDS: Readonly<Record<string, number>> = {
  boolean: 16,
  bigint: 20,
  integer: 23,
  text: 25,
  jsonb: 3802,
  'double precision': 701,
  numeric: 1700,
};
const NAMES: Readonly<Record<string, string>> = { boolean: 'bool', bigint: 'int8', integer: 'int4', 'double precision': 'float8' };
const WIDTHS: Readonly<Record<string, number>> = { boolean: 1, bigint: 8, integer: 4, 'double precision': 8 };

export function column(name: string, type: string): CatalogColumn {
  return {
    name,
    typeOid: OIDS[type]!,
    typeName: NAMES[type] ?? type,
    typmod: -1,
    type,
    baseType: type,
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull: false,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: WIDTHS[type] ?? -1,
  };
}

export interface TableShape {
  readonly name: string;
  /** `name type`, in order. */
  readonly columns: readonly string[];
  /** Absent: none. */
  readonly key?: readonly string[];
  readonly replicaIdentity?: ReplicaIdentity;
}

export function table({ name, columns, key, replicaIdentity = 'f' }: TableShape, oid = 1): CatalogTable {
  return {
    oid,
    schema: 'public',
    name,
    kind: 'r',
    columns: columns.map((text) => column(text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1))),
    ...(key !== undefined && { primaryKey: { indexName: 'pk', columns: key } }),
    uniqueKeys: [],
    replicaIdentity,
    foreignKeys: [],
    triggers: [],
    unlogged: false,
    rowEstimate: 0,
    bytes: 0,
    relfilenode: oid,
    rowSecurity: false,
    leaves: [],
  };
}

export function catalog(tables: readonly CatalogTable[]): Catalog {
  return {
    serverVersion: 180_000,
    database: 'origin',
    encoding: 'UTF8',
    collation: 'C',
    tables,
    types: [],
    sequences: [],
    oddities: [],
    extensions: [],
    schemas: ['public'],
    largeObjects: 0,
  };
}

/** `tables`: the entries under `tables:`. */
export function redisFile(tables: string, target = 'target: { redis: "redis://h:6379/0" }'): MigrationFile {
  const text = `crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\n${target}\ntables:\n${tables}`;
  const { file, findings } = readMigrationFile({ path: 'm.yaml', text, env: {} });
  if (file === undefined) throw new Error(findings.map((one) => one.message).join('\n'));
  return file;
}

export function compileShapes(tables: string, shapes: readonly TableShape[], target?: string): RedisMappingResult {
  return compileRedisMapping(redisFile(tables, target), catalog(shapes.map((shape, i) => table(shape, i + 1))));
}

export function mappingOf(tables: string, shapes: readonly TableShape[], target?: string): CompiledMapping {
  const { mapping, findings } = compileShapes(tables, shapes, target);
  if (mapping === undefined) throw new Error(findings.map((one) => one.message).join('\n'));
  return mapping;
}
