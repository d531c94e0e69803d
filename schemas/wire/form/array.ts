/** Arrays of simple elements. Guarantee: `parse` takes one-dimensional arrays from bound 1 only; `render` quotes as PostgreSQL's array_out does. */
import type { ConnectType } from '../connect-type.ts';
import type { ArrayForm, Form } from './form.ts';

/** Blanks are ASCII only: other spaces stay bare. */
const BLANKS = /[ \t\n\r\v\f"\\{},]/;

function element(text: string | null): string {
  if (text === null) return 'NULL';
  if (text !== '' && !BLANKS.test(text) && !/^null$/i.test(text)) return text;
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

/** Undefined for several dimensions, or bounds that do not begin at 1. */
export function arrayElements(text: string): (string | null)[] | undefined {
  if (!text.startsWith('{') || !text.endsWith('}')) return undefined;
  const items: (string | null)[] = [];
  let at = 1;
  if (text === '{}') return items;
  while (at < text.length) {
    if (text[at] === '{') return undefined;
    let value = '';
    const quoted = text[at] === '"';
    if (quoted) {
      for (at++; at < text.length && text[at] !== '"'; at++) {
        if (text[at] === '\\') at++;
        value += text[at] ?? '';
      }
      at++;
    } else {
      const start = at;
      while (at < text.length && text[at] !== ',' && text[at] !== '}') at++;
      value = text.slice(start, at);
    }
    items.push(!quoted && value === 'NULL' ? null : value);
    at++;
  }
  return items;
}

export function arrayForm(type: ConnectType, items: Form): ArrayForm {
  return {
    kind: 'array',
    type,
    items,
    parse: arrayElements,
    render: (elements) => `{${elements.map(element).join(',')}}`,
  };
}
