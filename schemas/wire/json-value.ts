/**
 * One value in Connect's JSON, by its form. Guarantee: numbers keep all their digits on both ways; `jsonOf` says exact only of what
 * `readJson` gives back.
 */
import { invariant } from '../errors.ts';
import { UNAVAILABLE, type ConnectType } from './connect-type.ts';
import { readUnscaled, writeUnscaled } from './form/decimal.ts';
import type { Form } from './form/form.ts';
import { Slab } from './slab.ts';

const rendered = new Slab(4096);
const binary = new Slab(4096);
const PLACEHOLDER_BASE64 = Buffer.from(UNAVAILABLE, 'latin1').toString('base64');

/** A number of JSON by its digits. */
export class JsonNumber {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

type Reviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown;

const keepDigits: Reviver = (_key, value, context) => (typeof value === 'number' ? new JsonNumber(context.source ?? String(value)) : value);

/** Numbers come as JsonNumber. */
export function parseJson(text: string): unknown {
  return JSON.parse(text, keepDigits as (this: unknown, key: string, value: unknown) => unknown);
}

export interface JsonValue {
  readonly json: string;
  readonly isExact: boolean;
}

function renderedIs(text: Buffer): boolean {
  return rendered.pos === text.length && text.compare(rendered.buffer, 0, rendered.pos) === 0;
}

/** Undefined: the type has no form for it. */
export function jsonOf(form: Form, text: Buffer): JsonValue | undefined {
  rendered.reset();
  switch (form.kind) {
    case 'text':
      return { json: JSON.stringify(text.toString('utf8')), isExact: true };
    case 'integer': {
      const value = form.parse(text, 0, text.length);
      if (value === undefined) return undefined;
      form.render(rendered, value);
      return { json: String(value), isExact: renderedIs(text) };
    }
    case 'boolean': {
      const value = form.parse(text, 0, text.length);
      return value === undefined ? undefined : { json: String(value), isExact: true };
    }
    case 'float': {
      const value = form.parse(text, 0, text.length);
      if (value === undefined) return undefined;
      form.render(rendered, value);
      const number = Object.is(value, -0) ? '-0.0' : String(value);
      return { json: Number.isFinite(value) ? number : `"${number}"`, isExact: renderedIs(text) };
    }
    case 'bytes':
      binary.reset();
      if (!form.parse(text, 0, text.length, binary)) return undefined;
      form.render(rendered, binary.buffer, 0, binary.pos);
      return { json: `"${binary.buffer.toString('base64', 0, binary.pos)}"`, isExact: renderedIs(text) };
    default:
      return jsonOfText(form, text.toString('utf8'));
  }
}

function jsonOfText(form: Form, text: string): JsonValue | undefined {
  switch (form.kind) {
    case 'string': {
      const value = form.parse(text);
      return value === undefined ? undefined : { json: JSON.stringify(value), isExact: form.render(value) === text };
    }
    case 'scaled': {
      const value = form.parse(text);
      if (value === undefined) return undefined;
      binary.reset();
      writeUnscaled(binary, value.unscaled);
      const base64 = binary.buffer.toString('base64', 0, binary.pos);
      return { json: `{"scale":${value.scale},"value":"${base64}"}`, isExact: form.render(value.scale, value.unscaled) === text };
    }
    case 'array': {
      const elements = form.parse(text);
      if (elements === undefined) return undefined;
      const values = elements.map((element) => (element === null ? null : jsonOf(form.items, Buffer.from(element, 'utf8'))));
      const isExact = form.render(elements) === text && values.every((value) => value === null || value?.isExact === true);
      return { json: `[${values.map((value) => value?.json ?? 'null').join(',')}]`, isExact };
    }
    default:
      return undefined;
  }
}

/** In a required field that has no value. */
export function jsonPlaceholder(form: Form): string {
  switch (form.kind) {
    case 'text':
    case 'string':
      return `"${UNAVAILABLE}"`;
    case 'bytes':
      return form.type.name === undefined ? `"${PLACEHOLDER_BASE64}"` : '""';
    case 'boolean':
      return 'false';
    case 'array':
      return '[]';
    case 'scaled':
      return '{"scale":0,"value":"AA=="}';
    default:
      return '0';
  }
}

export function isJsonPlaceholder(form: Form, value: unknown): boolean {
  return value === (form.type.base === 'bytes' ? PLACEHOLDER_BASE64 : UNAVAILABLE);
}

function integerOf(value: unknown): number | bigint {
  const source = value instanceof JsonNumber ? value.source : String(value);
  return source.length <= 15 ? Number(source) : BigInt(source);
}

/** Writes the text of a value (not null) of this form. */
export function readJson(form: Form, value: unknown, out: Slab): void {
  switch (form.kind) {
    case 'text':
      out.utf8(typeof value === 'string' ? value : JSON.stringify(plainOf(form.type, value)));
      return;
    case 'integer':
      form.render(out, integerOf(value));
      return;
    case 'boolean':
      form.render(out, value === true);
      return;
    case 'float':
      form.render(out, Number(value instanceof JsonNumber ? value.source : value));
      return;
    case 'bytes': {
      const bytes = Buffer.from(String(value), 'base64');
      form.render(out, bytes, 0, bytes.length);
      return;
    }
    case 'string':
      out.utf8(form.render(String(value)));
      return;
    case 'scaled': {
      const { scale, value: base64 } = value as { readonly scale: unknown; readonly value: unknown };
      const bytes = Buffer.from(String(base64), 'base64');
      out.ascii(form.render(Number(integerOf(scale)), BigInt(readUnscaled(bytes, 0, bytes.length))));
      return;
    }
    case 'array':
      invariant(Array.isArray(value), 'an array is a JSON array');
      out.utf8(form.render(value.map((element: unknown) => elementText(form.items, element))));
      return;
    case 'foreign':
      out.utf8(form.render(plainOf(form.type, value)));
  }
}

function elementText(form: Form, element: unknown): string | null {
  if (element === null) return null;
  const item = new Slab(64);
  readJson(form, element, item);
  return item.take().toString('utf8');
}

/** As plain JavaScript, by its type: bytes as a Buffer, whole numbers exact. */
export function plainOf(type: ConnectType, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (type.base === 'bytes') return Buffer.from(value as string, 'base64');
  if (value instanceof JsonNumber) return type.base.startsWith('float') ? Number(value.source) : integerOf(value);
  if (type.base === 'array' && Array.isArray(value)) return value.map((item: unknown) => plainOf(type.items!, item));
  if (type.base === 'map') return plainMap(type, value);
  if (type.base !== 'struct') return value;
  const fields = value as Readonly<Record<string, unknown>>;
  return Object.fromEntries((type.fields ?? []).map((field) => [field.name, plainOf(field.type, fields[field.name])]));
}

/** Maps of keys that are no texts come as pairs. */
function plainMap(type: ConnectType, value: object): unknown {
  const pairs: readonly (readonly [unknown, unknown])[] = Array.isArray(value) ? value : Object.entries(value);
  return Object.fromEntries(pairs.map(([key, item]) => [key instanceof JsonNumber ? key.source : String(key), plainOf(type.items!, item)]));
}
