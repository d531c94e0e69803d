/**
 * Structures that the Debezium connector writes and we do not: points, vectors, maps. Guarantee: read only; a text that PostgreSQL's own
 * input takes where the type is known, else JSON.
 */
import type { ConnectType } from '../connect-type.ts';
import type { ForeignForm } from './form.ts';

type Fields = Readonly<Record<string, unknown>>;

const RENDER: Readonly<Record<string, (value: unknown) => string>> = {
  'io.debezium.data.geometry.Point': (value) => `(${String((value as Fields)['x'])},${String((value as Fields)['y'])})`,
  'io.debezium.data.geometry.Geometry': wkb,
  'io.debezium.data.geometry.Geography': wkb,
  'io.debezium.data.FloatVector': vector,
  'io.debezium.data.DoubleVector': vector,
  'io.debezium.data.SparseDoubleVector': sparse,
};

/** PostGIS reads well-known binary as hexadecimal. */
function wkb(value: unknown): string {
  const { wkb: bytes, srid } = value as { readonly wkb?: Uint8Array; readonly srid?: unknown };
  const hex = Buffer.from(bytes ?? []).toString('hex');
  return srid === null || srid === undefined ? hex : `SRID=${Number(srid)};${hex}`;
}

function vector(value: unknown): string {
  return `[${(value as readonly unknown[]).map(String).join(',')}]`;
}

/** pgvector counts from 1, as Debezium passes it on. */
function sparse(value: unknown): string {
  const { dimensions, vector: entries } = value as { readonly dimensions?: unknown; readonly vector?: Fields };
  const pairs = Object.entries(entries ?? {}).map(([index, number]) => `${index}:${String(number)}`);
  return `{${pairs.join(',')}}/${String(dimensions)}`;
}

/** Node has it; TypeScript's library does not say so yet. */
const { rawJSON: rawJson } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

function plainJson(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one === 'bigint') return rawJson(String(one));
    return one instanceof Uint8Array ? Buffer.from(one).toString('base64') : one;
  });
}

export function foreignForm(type: ConnectType): ForeignForm {
  return { kind: 'foreign', type, render: RENDER[type.name ?? ''] ?? plainJson };
}
