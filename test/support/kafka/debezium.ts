/**
 * Configurations of Debezium's connectors for a worker of connect.ts. Guarantee: what is said here is what a plain set-up needs and
 * nothing else, so tests see Debezium as others run it.
 */
import type { ConnectorConfig } from './connect.ts';

export interface SourceOptions {
  /** topic.prefix; the slot and the publication are named after it too. */
  readonly prefix: string;
  /** schema.table */
  readonly tables: readonly string[];
  readonly partitions?: number;
  /** Further settings, over ours: converters, snapshot.mode … */
  readonly config?: ConnectorConfig;
}

/** Topics `PREFIX.schema.table`, a snapshot first. */
export function debeziumSource(databaseUrl: string, options: SourceOptions): ConnectorConfig {
  const url = new URL(databaseUrl);
  const own = options.prefix.replaceAll(/\W/g, '_').toLowerCase(); // Debezium does not quote it
  return {
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'plugin.name': 'pgoutput',
    'topic.prefix': options.prefix,
    'slot.name': own,
    'publication.name': own,
    'publication.autocreate.mode': 'filtered',
    'table.include.list': options.tables.join(','),
    'database.hostname': url.hostname,
    'database.port': url.port,
    'database.user': decodeURIComponent(url.username),
    'database.password': decodeURIComponent(url.password),
    'database.dbname': decodeURIComponent(url.pathname.slice(1)),
    'topic.creation.default.partitions': String(options.partitions ?? 1),
    'topic.creation.default.replication.factor': '1',
    ...options.config,
  };
}

export interface SinkOptions {
  readonly topics: readonly string[];
  /** Further settings, over ours: converters, collection.name.format, schema.evolution … */
  readonly config?: ConnectorConfig;
}

/** Upserts and deletes by the record's key into tables that are there; their name is the source table's. */
export function debeziumSink(databaseUrl: string, options: SinkOptions): ConnectorConfig {
  const url = new URL(databaseUrl);
  return {
    'connector.class': 'io.debezium.connector.jdbc.JdbcSinkConnector',
    topics: options.topics.join(','),
    'connection.url': `jdbc:postgresql://${url.host}${url.pathname}`,
    'connection.username': decodeURIComponent(url.username),
    'connection.password': decodeURIComponent(url.password),
    'insert.mode': 'upsert',
    'delete.enabled': 'true',
    'primary.key.mode': 'record_key',
    'schema.evolution': 'none',
    'collection.name.format': '${source.table}',
    'consumer.override.auto.offset.reset': 'earliest',
    'consumer.override.metadata.max.age.ms': '500', // finds topics that are made later
    ...options.config,
  };
}

/** JSON with its schema in every record, as Connect writes it by default. */
export const JSON_WITH_SCHEMA: ConnectorConfig = {
  'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
  'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
};

/** Avro in Confluent's wire format, schemas in a registry of registry.ts. */
export function avroConverters(registryUrl: string): ConnectorConfig {
  const url = new URL('/apis/registry/v2', registryUrl).href; // the converter knows Apicurio's own API only
  const of = (side: 'key' | 'value'): ConnectorConfig => ({
    [`${side}.converter`]: 'io.apicurio.registry.utils.converter.AvroConverter',
    [`${side}.converter.apicurio.registry.url`]: url,
    [`${side}.converter.apicurio.registry.auto-register`]: 'true',
    [`${side}.converter.apicurio.registry.as-confluent`]: 'true', // a magic byte, then the id in four
    [`${side}.converter.apicurio.registry.use-id`]: 'contentId', // the id that Confluent's API gives
    [`${side}.converter.apicurio.registry.headers.enabled`]: 'false',
  });
  return { ...of('key'), ...of('value'), 'schema.name.adjustment.mode': 'avro' };
}
