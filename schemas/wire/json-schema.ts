/**
 * Connect types as the JSON that Kafka Connect's JsonConverter puts beside each payload (schemas.enable), and back. Guarantee: the same
 * type always gives the same text.
 */
import { COLUMN_MARK, OWN_MARK } from './avro-schema.ts';
import type { ConnectField, ConnectType } from './connect-type.ts';

const JSON_BASE: Readonly<Record<string, string>> = { float32: 'float', float64: 'double' };
const CONNECT_BASE: Readonly<Record<string, ConnectType['base']>> = { float: 'float32', double: 'float64' };

export function jsonSchema(type: ConnectType): string {
  return JSON.stringify({ ...toJson(type), [OWN_MARK]: 1 });
}

function toJson(type: ConnectType): object {
  return {
    type: JSON_BASE[type.base] ?? type.base,
    ...(type.items !== undefined && { items: toJson(type.items) }),
    ...(type.fields !== undefined && { fields: type.fields.map(fieldJson) }),
    optional: type.optional === true,
    ...(type.default !== undefined && { default: type.default }),
    ...(type.name !== undefined && { name: type.name }),
    ...(type.version !== undefined && { version: type.version }),
    ...(type.parameters !== undefined && { parameters: type.parameters }),
  };
}

function fieldJson(field: ConnectField): object {
  return { ...toJson(field.type), field: field.name, ...(field.column !== undefined && { [COLUMN_MARK]: field.column }) };
}

interface SchemaJson {
  readonly type: string;
  readonly items?: SchemaJson;
  readonly values?: SchemaJson;
  readonly fields?: readonly (SchemaJson & { readonly field: string })[];
  readonly optional?: boolean;
  readonly name?: string;
  readonly version?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly [OWN_MARK]?: number;
  readonly [COLUMN_MARK]?: string;
}

export interface ReadJsonSchema {
  readonly type: ConnectType;
  /** Written by us. */
  readonly isOwn: boolean;
}

export function readJsonSchema(text: string): ReadJsonSchema {
  const schema = JSON.parse(text) as SchemaJson;
  return { type: fromJson(schema), isOwn: schema[OWN_MARK] === 1 };
}

function fromJson(schema: SchemaJson): ConnectType {
  const items = schema.items ?? schema.values;
  const fields = schema.fields?.map((field): ConnectField => {
    const column = field[COLUMN_MARK];
    return { name: field.field, type: fromJson(field), ...(column !== undefined && { column }) };
  });
  return {
    base: CONNECT_BASE[schema.type] ?? (schema.type as ConnectType['base']),
    ...(items !== undefined && { items: fromJson(items) }),
    ...(fields !== undefined && { fields }),
    ...(schema.optional === true && { optional: true }),
    ...(schema.name !== undefined && { name: schema.name }),
    ...(schema.version !== undefined && { version: schema.version }),
    ...(schema.parameters !== undefined && { parameters: schema.parameters }),
  };
}
