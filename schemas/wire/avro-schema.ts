/**
 * Connect types as Avro schemas, by Confluent's conventions (connect.name, connect.version, connect.parameters …), and back. Guarantee:
 * the same type always gives the same text, so a schema is registered once; what is read from any Avro schema has a form.
 */
import { invariant } from '../errors.ts';
import type { ConnectField, ConnectType } from './connect-type.ts';

/** Marks what we wrote: absent fields are then known from the header, not by a placeholder. */
export const OWN_MARK = 'crossfade.form';
/** The column's own name, where Avro does not allow it. */
export const COLUMN_MARK = 'crossfade.column';

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

const AVRO_BASE: Readonly<Record<string, string>> = {
  boolean: 'boolean',
  int8: 'int',
  int16: 'int',
  int32: 'int',
  int64: 'long',
  float32: 'float',
  float64: 'double',
  string: 'string',
  bytes: 'bytes',
};

export function avroSchema(type: ConnectType): string {
  const schema = toAvro(type, '', new Set());
  invariant(typeof schema === 'object' && schema !== null, 'an event is a record');
  return JSON.stringify({ ...schema, [OWN_MARK]: 1 });
}

function toAvro(type: ConnectType, namespace: string, known: Set<string>): Json {
  if (type.base === 'struct') return recordSchema(type, namespace, known);
  const extra = connectProperties(type);
  if (type.base === 'array') return { type: 'array', items: optionalSchema(type.items!, namespace, known), ...extra };
  const base = AVRO_BASE[type.base]!;
  return Object.keys(extra).length === 0 ? base : { type: base, ...extra };
}

function connectProperties(type: ConnectType): Record<string, Json> {
  const { parameters } = type;
  const scale = parameters?.['scale'];
  const isDecimal = type.base === 'bytes' && scale !== undefined;
  return {
    ...((type.base === 'int16' || type.base === 'int8') && { 'connect.type': type.base }),
    ...(isDecimal && { scale: Number(scale), precision: Number(parameters?.['connect.decimal.precision'] ?? 64) }),
    ...(type.version !== undefined && { 'connect.version': type.version }),
    ...(parameters !== undefined && { 'connect.parameters': parameters }),
    ...(type.default !== undefined && { 'connect.default': type.default }),
    ...(type.name !== undefined && { 'connect.name': type.name }),
    ...(isDecimal && isLegalDecimal(parameters!) && { logicalType: 'decimal' }),
  };
}

/** Avro knows no negative scale, and none above the precision. */
function isLegalDecimal(parameters: Readonly<Record<string, string>>): boolean {
  const scale = Number(parameters['scale']);
  return scale >= 0 && scale <= Number(parameters['connect.decimal.precision'] ?? 64);
}

function recordSchema(type: ConnectType, namespace: string, known: Set<string>): Json {
  const fullName = type.name ?? 'ConnectDefault';
  const dot = fullName.lastIndexOf('.');
  const [own, name] = dot < 0 ? [namespace, fullName] : [fullName.slice(0, dot), fullName.slice(dot + 1)];
  if (known.has(fullName)) return own === namespace ? name : fullName;
  known.add(fullName);
  const fields = (type.fields ?? []).map((field): Json => {
    const marked = field.column === undefined ? {} : { [COLUMN_MARK]: field.column };
    const schema = optionalSchema(field.type, own, known);
    if (field.type.optional !== true) return { name: field.name, type: schema, ...marked };
    return { name: field.name, type: schema, default: field.type.default ?? null, ...marked };
  });
  return { type: 'record', name, namespace: own, fields, ...connectProperties(type) };
}

/** The branch of the default comes first. */
function optionalSchema(type: ConnectType, namespace: string, known: Set<string>): Json {
  const schema = toAvro(type, namespace, known);
  if (type.optional !== true) return schema;
  return type.default === undefined ? ['null', schema] : [schema, 'null'];
}

/** An Avro type as a decoder needs it. */
export type AvroType =
  | { readonly kind: 'null' }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }
  | { readonly kind: 'record'; readonly connect: ConnectType; readonly fields: readonly AvroField[] }
  | { readonly kind: 'array' | 'map'; readonly connect: ConnectType; readonly items: AvroType }
  | { readonly kind: 'enum'; readonly symbols: readonly string[] }
  | { readonly kind: 'fixed'; readonly size: number; readonly connect: ConnectType }
  | { readonly kind: 'plain'; readonly base: string; readonly connect: ConnectType };

export interface AvroField {
  readonly name: string;
  readonly column: string;
  readonly type: AvroType;
}

export interface ReadSchema {
  readonly type: AvroType;
  /** Written by us. */
  readonly isOwn: boolean;
}

type Properties = Readonly<Record<string, unknown>>;

export function readAvroSchema(text: string): ReadSchema {
  const schema: unknown = JSON.parse(text);
  const isOwn = typeof schema === 'object' && schema !== null && (schema as Properties)[OWN_MARK] === 1;
  return { type: fromAvro(schema, '', new Map()), isOwn };
}

const CONNECT_BASE: Readonly<Record<string, ConnectType['base']>> = {
  boolean: 'boolean',
  int: 'int32',
  long: 'int64',
  float: 'float32',
  double: 'float64',
  string: 'string',
  bytes: 'bytes',
};

/** Avro's own logical types, for schemas without Connect's properties. */
const LOGICAL: Readonly<Record<string, string>> = {
  date: 'io.debezium.time.Date',
  'time-millis': 'io.debezium.time.Time',
  'time-micros': 'io.debezium.time.MicroTime',
  'timestamp-millis': 'io.debezium.time.Timestamp',
  'timestamp-micros': 'io.debezium.time.MicroTimestamp',
  decimal: 'org.apache.kafka.connect.data.Decimal',
};

function fromAvro(schema: unknown, namespace: string, known: Map<string, AvroType>): AvroType {
  if (Array.isArray(schema)) return { kind: 'union', branches: schema.map((branch: unknown) => fromAvro(branch, namespace, known)) };
  if (typeof schema === 'string') {
    if (schema === 'null') return { kind: 'null' };
    const base = CONNECT_BASE[schema];
    if (base !== undefined) return { kind: 'plain', base: schema, connect: { base } };
    const named = known.get(schema) ?? known.get(`${namespace}.${schema}`);
    invariant(named !== undefined, `an Avro schema names ${schema} and does not define it`);
    return named;
  }
  const properties = schema as Properties;
  const { type } = properties;
  if (typeof type !== 'string') return fromAvro(type, namespace, known);
  if (type === 'record' || type === 'enum' || type === 'fixed') return fromNamed(properties, namespace, known);
  if (type === 'array' || type === 'map') {
    const items = fromAvro(type === 'array' ? properties['items'] : properties['values'], namespace, known);
    return { kind: type, items, connect: { base: type, items: connectOf(items), ...semantic(properties) } };
  }
  const base = CONNECT_BASE[type];
  if (base === undefined) return fromAvro(type, namespace, known);
  const narrow = properties['connect.type'];
  return {
    kind: 'plain',
    base: type,
    connect: { base: narrow === 'int16' || narrow === 'int8' ? narrow : base, ...semantic(properties) },
  };
}

function semantic(properties: Properties): Pick<ConnectType, 'name' | 'version' | 'parameters'> {
  const logical = typeof properties['logicalType'] === 'string' ? LOGICAL[properties['logicalType']] : undefined;
  const name = (properties['connect.name'] as string | undefined) ?? logical;
  const given = properties['connect.parameters'] as Record<string, string> | undefined;
  const scale = properties['scale'];
  const parameters = given ?? (typeof scale === 'number' || name?.endsWith('.Decimal') ? { scale: String(Number(scale ?? 0)) } : undefined);
  return { ...(name !== undefined && { name }), ...(parameters !== undefined && { parameters }) };
}

function fromNamed(properties: Properties, namespace: string, known: Map<string, AvroType>): AvroType {
  const name = properties['name'] as string;
  const dot = name.lastIndexOf('.');
  const own = dot >= 0 ? name.slice(0, dot) : ((properties['namespace'] as string | undefined) ?? namespace);
  const fullName = own === '' || dot >= 0 ? name : `${own}.${name}`;
  const type = namedType(properties, fullName);
  known.set(fullName, type);
  if (type.kind === 'record') {
    const fields = type.fields as AvroField[];
    for (const field of properties['fields'] as readonly Properties[]) {
      const fieldName = field['name'] as string;
      const column = (field[COLUMN_MARK] as string | undefined) ?? fieldName;
      fields.push({ name: fieldName, column, type: fromAvro(field['type'], own, known) });
    }
    const connectFields = type.connect.fields as ConnectField[];
    for (const field of fields) connectFields.push({ name: field.name, type: connectOf(field.type) });
  }
  return type;
}

function namedType(properties: Properties, fullName: string): AvroType {
  if (properties['type'] === 'enum') return { kind: 'enum', symbols: properties['symbols'] as readonly string[] };
  if (properties['type'] === 'fixed') {
    return { kind: 'fixed', size: properties['size'] as number, connect: { base: 'bytes', ...semantic(properties) } };
  }
  return { kind: 'record', connect: { base: 'struct', name: fullName, ...semantic(properties), fields: [] }, fields: [] };
}

/** Of a union, its first branch that is not null. */
export function connectOf(type: AvroType): ConnectType {
  switch (type.kind) {
    case 'null':
    case 'enum':
      return { base: 'string' };
    case 'union': {
      const branch = type.branches.find((one) => one.kind !== 'null');
      return branch === undefined ? { base: 'string' } : { ...connectOf(branch), optional: true };
    }
    default:
      return type.connect;
  }
}
