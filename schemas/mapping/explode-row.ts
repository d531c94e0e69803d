/**
 * The children of one row, without a server: for the mapping's tests. Guarantee: what the target's server makes of the same array, as far as that is
 * known; a value that only a server casts is told as such, and a row that a server would refuse for its shape is refused.
 */
import type { Explode, ExplodedPart } from './compiled-mapping.ts';
import { elementsOf } from './steps/array-text.ts';
import { decode, elementsOfJson, findInJson, isJson } from './steps/json-text.ts';
import { castText, targetText } from './value-text.ts';

/** Undefined: known to the server only. */
type Value = string | null | undefined;

export type ExplodedRow =
  | { readonly kind: 'children'; readonly children: readonly ReadonlyMap<string, Value>[] }
  | { readonly kind: 'refused'; readonly message: string };

class Refused extends Error {}

/** `text`: of the array column. */
export function explodeRow(explode: Explode, text: string | null): ExplodedRow {
  try {
    const elements = elementsIn(explode, text);
    const children = elements.map((element, i) => childOf(explode, element, i + 1));
    checkKeys(explode, children);
    return { kind: 'children', children };
  } catch (error) {
    if (error instanceof Refused) return { kind: 'refused', message: error.message };
    throw error;
  }
}

function elementsIn({ array, name }: Explode, text: string | null): readonly (string | null)[] {
  if (text === null) return [];
  if (array === 'array') {
    const elements = flatElements(text);
    if (elements === undefined) throw new Refused(`"${name}" is no array`);
    return elements;
  }
  if (!isJson(text)) throw new Refused(`"${name}" is no JSON`);
  if (text.trim() === 'null') return [];
  const elements = elementsOfJson(text);
  if (elements === undefined) throw new Refused(`"${name}" is no JSON array`);
  return elements;
}

/** Of all dimensions, as PostgreSQL unnests them. */
function flatElements(text: string): readonly (string | null)[] | undefined {
  const nested = /^(?:\[[^=]*=)?\{\{/.test(text);
  const elements = elementsOf(text, ',');
  return nested ? elements?.flatMap((element) => flatElements(element ?? '') ?? []) : elements;
}

function childOf({ parts, ordinal, array, name }: Explode, element: string | null, place: number): ReadonlyMap<string, Value> {
  const child = new Map<string, Value>();
  for (const part of parts) {
    const text = array === 'array' ? element : jsonText(part, element!, `element ${place} of ${name}`);
    child.set(part.target, text === null ? null : part.cast === undefined ? targetText(part, text) : castText(part, text));
  }
  if (ordinal !== undefined) child.set(ordinal.target, String(place));
  return child;
}

function jsonText({ path, targetBaseType }: ExplodedPart, element: string, about: string): string | null {
  if (path !== undefined && !element.startsWith('{')) throw new Refused(`${about} is no object`);
  const found = findInJson(element, path ?? []);
  if (found === undefined) return null;
  if (targetBaseType === 'json' || targetBaseType === 'jsonb') return found;
  return found === 'null' ? null : found.startsWith('"') ? decode(found) : found;
}

function checkKeys({ key, name }: Explode, children: readonly ReadonlyMap<string, Value>[]): void {
  const seen = new Set<string>();
  for (const child of children) {
    const values = key.map((column) => child.get(column));
    const empty = key.find((column) => child.get(column) === null);
    if (empty !== undefined) throw new Refused(`an element of "${name}" has nothing for "${empty}", which is part of the key`);
    if (values.includes(undefined)) continue;
    const id = JSON.stringify(values);
    if (seen.has(id)) throw new Refused(`two elements of "${name}" have the same ${key.join(', ')}`);
    seen.add(id);
  }
}
