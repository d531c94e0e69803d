/**
 * The tables whose rows go to topics of their own. Guarantee: a relation's encoder writes its columns as the stream describes them, under
 * the key that identifies a row; leaves of one table share its topic; a topic exists and has its number before an encoder is given out.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { ChunkRowsHeader } from '#schemas/frame/frame.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import { identityColumns, type CatalogTable, type CatalogType } from '#schemas/table.ts';
import { makeRowFields } from '#schemas/wire/fields.ts';
import { rawShape } from '#schemas/wire/shape.ts';
import type { RowEncoder, RowFields, WireColumn, WireFormat, WireShape } from '#schemas/wire/wire.ts';
import type { KafkaCluster } from '../cluster.ts';
import { valueBytesMax } from './large-rows.ts';
import type { RawTopic } from './parcel.ts';
import { rawTopic, type TableName } from './topic-names.ts';

/** A relation of the stream; a chunk's table has oid 0. */
export interface RelationName extends TableName {
  readonly oid: number;
}

export interface RawTablesOptions {
  readonly cluster: KafkaCluster;
  /** Of the migration. */
  readonly name: string;
  readonly format: WireFormat;
  readonly database: string;
  readonly partitions: number;
  /** The mapped table, of a leaf its root; undefined: the file does not map it. */
  readonly tableOf: (relation: RelationName) => CatalogTable | undefined;
  /** User types, for the labels of enums. */
  readonly types?: readonly CatalogType[];
  /** Number of a raw topic in the directory; durable once resolved. */
  readonly register: (topic: string, table: TableName) => Promise<number>;
}

/** Rows of one relation, or of chunks of one table with the same columns. */
export interface RawRows {
  readonly table: RawTable;
  readonly encoder: RowEncoder;
  /** Stands in the rows' headers. */
  readonly oid: number;
  /** Tuple column (or chunk column) → field of the encoder's shape. */
  readonly toField: Int32Array;
  /** Fields of the record's key. */
  readonly keyFields: Int32Array;
  /** Fields that a tuple of kind K does not carry. */
  readonly unkeyed: Int32Array;
  readonly before: RowFields;
  readonly after: RowFields;
}

export interface RawTable {
  readonly catalog: CatalogTable;
  readonly topic: RawTopic;
  readonly partitions: number;
  /** What the topic takes, and what of that a value may have; from then on asked anew each time for a table of which a row was too large. */
  batchBytesMax: number;
  valueBytesMax: number;
  hadTooLarge: boolean;
  /** As the stream last described them, or the catalogue before that. */
  columns: readonly WireColumn[];
}

export class RawTables {
  readonly #options: RawTablesOptions;
  readonly #tables = new Map<string, RawTable>();
  readonly #encoders = new Map<string, RowEncoder>();

  constructor(options: RawTablesOptions) {
    this.#options = options;
  }

  /** Undefined when the file does not map it. */
  async relation(relation: Relation): Promise<RawRows | undefined> {
    const catalog = this.#options.tableOf(relation);
    if (catalog === undefined) return undefined;
    const table = await this.#table(catalog);
    table.columns = this.#columns(relation, catalog);
    const identity = new Set(relation.columns.filter((column) => column.isKey).map((column) => column.name));
    return this.#rows(table, { oid: relation.oid, from: relation.columns.map((column) => column.name), identity });
  }

  /** Rows of chunks of these columns. @throws PipelineError CF-2006 when the table has no such column. */
  async chunk(header: ChunkRowsHeader): Promise<RawRows | undefined> {
    const catalog = this.#options.tableOf({ oid: 0, schema: header.schema, name: header.table });
    if (catalog === undefined) return undefined;
    const table = await this.#table(catalog);
    const missing = header.columns.find((name) => table.columns.every((column) => column.name !== name));
    if (missing !== undefined) {
      throw new PipelineError(
        'CF-2006',
        `a chunk of ${header.schema}.${header.table} has the column ${missing}, which the stream does not have`,
      );
    }
    return this.#rows(table, { oid: catalog.oid, from: header.columns, identity: new Set() });
  }

  async #table(catalog: CatalogTable): Promise<RawTable> {
    const { cluster, name, partitions, register } = this.#options;
    const topicName = rawTopic(name, catalog);
    const known = this.#tables.get(topicName);
    if (known?.catalog === catalog) {
      if (known.hadTooLarge) Object.assign(known, await this.#limits(topicName));
      return known;
    }
    if (known === undefined) await cluster.ensureTopics(new Map([[topicName, { partitions }]]));
    const index = known?.topic.index ?? (await register(topicName, catalog));
    const columns = known?.columns ?? this.#columns(asStreamed(catalog), catalog);
    const limits = await this.#limits(topicName);
    const table: RawTable = { catalog, topic: { index, name: topicName }, partitions, columns, hadTooLarge: false, ...limits };
    this.#tables.set(topicName, table);
    return table;
  }

  async #limits(topic: string): Promise<Pick<RawTable, 'batchBytesMax' | 'valueBytesMax'>> {
    const batchBytesMax = await this.#options.cluster.batchBytesMax(topic);
    return { batchBytesMax, valueBytesMax: valueBytesMax(batchBytesMax) };
  }

  #columns(relation: Relation, catalog: CatalogTable): readonly WireColumn[] {
    const { name, database, types } = this.#options;
    return columnsOf(rawShape(catalog, { name, database, relation, ...(types !== undefined && { types }) }), catalog);
  }

  async #rows(
    table: RawTable,
    of: { readonly oid: number; readonly from: readonly string[]; readonly identity: ReadonlySet<string> },
  ): Promise<RawRows> {
    const { catalog, topic, columns } = table;
    const { database } = this.#options;
    const encoder = await this.#encoder({ topic: topic.name, database, schema: catalog.schema, table: catalog.name, columns });
    const names = columns.map((column) => column.name);
    const fieldsWhere = (test: (column: WireColumn) => boolean): Int32Array =>
      Int32Array.from(columns.flatMap((column, i) => (test(column) ? [i] : [])));
    return {
      table,
      encoder,
      oid: of.oid,
      toField: Int32Array.from(of.from, (name) => names.indexOf(name)),
      keyFields: fieldsWhere((column) => column.isKey),
      unkeyed: fieldsWhere((column) => !of.identity.has(column.name)),
      before: makeRowFields(columns.length),
      after: makeRowFields(columns.length),
    };
  }

  async #encoder(shape: WireShape): Promise<RowEncoder> {
    const text = JSON.stringify(shape);
    let encoder = this.#encoders.get(text);
    if (encoder === undefined) this.#encoders.set(text, (encoder = await this.#options.format.encoder(shape)));
    return encoder;
  }
}

/** In the catalogue's order, so that leaves with other orders have one schema. */
function columnsOf(shape: WireShape, catalog: CatalogTable): readonly WireColumn[] {
  const order = new Map(catalog.columns.map((column, i) => [column.name, i]));
  const placeOf = (column: WireColumn): number => order.get(column.name) ?? order.size;
  const key = identityColumns(catalog) ?? [];
  // A key of which the stream lacks a column is none.
  const isKeyed = key.every((name) => shape.columns.some((column) => column.name === name));
  return shape.columns.toSorted((a, b) => placeOf(a) - placeOf(b)).map((column) => ({ ...column, isKey: isKeyed && column.isKey }));
}

/** Before the stream has described it. */
function asStreamed({ oid, schema, name, replicaIdentity, columns }: CatalogTable): Relation {
  const streamed = columns.filter((column) => column.generated === '');
  return { oid, schema, name, replicaIdentity, columns: streamed.map((column) => ({ ...column, isKey: false })) };
}
