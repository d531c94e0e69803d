/**
 * A JSON object taken apart, values left as they are written. Guarantee: every digit of a number and every space of a nested value is there; a
 * text that is no object, or names a member twice, gives nothing.
 */

/** By name: the value's own text. */
export type JsonMembers = ReadonlyMap<string, string>;

export function jsonMembers(text: string): JsonMembers | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  // Valid from here on: only where values begin and end is looked for.
  const open = skipSpace(text, 0);
  if (text[open] !== '{') return undefined;
  const members = new Map<string, string>();
  let at = skipSpace(text, open + 1);
  while (text[at] === '"') {
    const end = stringEnd(text, at);
    const name = JSON.parse(text.slice(at, end)) as string;
    const from = skipSpace(text, skipSpace(text, end) + 1);
    const to = valueEnd(text, from);
    if (members.has(name)) return undefined;
    members.set(name, text.slice(from, to).trimEnd());
    at = skipSpace(text, to + 1);
  }
  return members;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  return at;
}

/** Behind the closing quote. */
function stringEnd(text: string, open: number): number {
  let at = open + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

/** Where the comma or brace stands that ends the value. */
function valueEnd(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const c = text[at];
    if (c === '"') at = stringEnd(text, at) - 1;
    else if (c === '{' || c === '[') depth++;
    else if ((c === '}' || c === ']') && depth-- === 0) return at;
    else if (c === ',' && depth === 0) return at;
  }
  return text.length;
}
