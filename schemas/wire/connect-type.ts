/**
 * Kafka Connect's schemas, as far as change events use them: what both wire formats say of a column. Guarantee: plain data; the same type
 * written into a schema and read back is equal, so writer and reader agree on every value's form.
 */

export interface ConnectType {
  readonly base: 'boolean' | 'int8' | 'int16' | 'int32' | 'int64' | 'float32' | 'float64' | 'string' | 'bytes' | 'array' | 'map' | 'struct';
  /** Semantic type, such as io.debezium.time.MicroTimestamp. */
  readonly name?: string;
  readonly version?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  /** Of an array, a map (its values). */
  readonly items?: ConnectType;
  readonly fields?: readonly ConnectField[];
  readonly optional?: boolean;
  readonly default?: string;
}

export interface ConnectField {
  readonly name: string;
  readonly type: ConnectType;
  /** The column's own name where `name` had to be made legal. */
  readonly column?: string;
}

/** Debezium's own parameter (column.propagate.source.type): given where the semantic type alone does not tell PostgreSQL's text form. */
export const SOURCE_TYPE = '__debezium.source.column.type';

/** What stands for a value that the stream did not carry, where its type is text or bytes. */
export const UNAVAILABLE = '__debezium_unavailable_value';

export function optional(type: ConnectType): ConnectType {
  return { ...type, optional: true };
}
