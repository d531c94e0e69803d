/**
 * Shapes: what the rows of a topic look like. Guarantee: columns stand as the stream gives them (raw) or as the mapping lists them
 * (mapped); what the catalogue knows of a type is used only where the stream names the same type.
 */
import type { CompiledMapping, TableMapping } from '../mapping/compiled-mapping.ts';
import type { Relation } from '../pgoutput/message.ts';
import { identityColumns, type CatalogColumn, type CatalogTable, type CatalogType } from '../table.ts';
import type { LabelledColumn } from './column-type.ts';
import type { WireShape } from './wire.ts';

export interface ShapeOptions {
  /** Of the migration: the topics' prefix. */
  readonly name: string;
  readonly database: string;
  readonly relation: Relation;
  /** User types, for the labels of enums. */
  readonly types?: readonly CatalogType[];
}

interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** Characters that Kafka does not allow in a topic's name, as Debezium replaces them. */
export function topicPart(text: string): string {
  return text.replaceAll(/[^a-zA-Z0-9._-]/g, '_');
}

export function rawTopic(migration: string, table: TableName): string {
  return topicPart(`${migration}.${table.schema}.${table.name}`);
}

export function mappedTopic(migration: CompiledMapping['name'], table: TableName): string {
  return topicPart(`${migration}.mapped.${table.schema}.${table.name}`);
}

/** `table` is the root, `relation` may be a leaf's: its columns may stand in another order. */
export function rawShape(table: CatalogTable, options: ShapeOptions): WireShape {
  const key = identityColumns(table) ?? [];
  const columns = options.relation.columns.map(({ name }) => wireColumn(name, name, { key, table, options }));
  return {
    topic: rawTopic(options.name, table),
    database: options.database,
    schema: table.schema,
    table: table.name,
    columns,
  };
}

/** Rows as the transformer writes them: the mapping's columns under their target names. */
export function mappedShape(mapping: TableMapping, options: ShapeOptions): WireShape {
  const table = { columns: mapping.columns.map((column) => column.source) };
  const columns = mapping.columns.map(({ target, source }) => wireColumn(target, source.name, { key: mapping.targetKey, table, options }));
  return {
    topic: mappedTopic(options.name, mapping.to),
    database: options.database,
    schema: mapping.to.schema,
    table: mapping.to.name,
    columns,
  };
}

interface Known {
  readonly key: readonly string[];
  readonly table: { readonly columns: readonly CatalogColumn[] };
  readonly options: ShapeOptions;
}

function wireColumn(name: string, source: string, { key, table, options }: Known): LabelledColumn {
  const catalog = table.columns.find((column) => column.name === source);
  const streamed = options.relation.columns.find((column) => column.name === source) ?? catalog;
  const typeOid = streamed?.typeOid ?? 0;
  const isSame = catalog?.typeOid === typeOid;
  const labels = isSame && catalog.typtype === 'e' ? options.types?.find((type) => type.oid === typeOid)?.labels : undefined;
  return {
    name,
    typeOid,
    typmod: streamed?.typmod ?? -1,
    isKey: key.includes(name),
    isNullable: catalog?.notNull !== true,
    ...(isSame && { catalog }),
    ...(labels !== undefined && { labels }),
  };
}
