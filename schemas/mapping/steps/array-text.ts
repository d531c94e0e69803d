/** PostgreSQL's text form of an array, one level of it. Guarantee: elements come unquoted, inner arrays as their own text. */

/** Undefined for what is no array. `delimiter`: a comma for every type but box, and some of extensions. */
export function elementsOf(text: string, delimiter: string): (string | null)[] | undefined {
  // Bounds other than the usual stand before: [0:1]={a,b}.
  const start = text.startsWith('[') ? text.indexOf('=') + 1 : 0;
  if (text[start] !== '{' || !text.endsWith('}')) return undefined;
  const elements: (string | null)[] = [];
  const last = text.length - 1;
  let p = start + 1;
  while (p < last) {
    const end = endOfElement(text, { from: p, last, delimiter });
    if (end === undefined) return undefined;
    elements.push(elementText(text.slice(p, end)));
    p = end + 1;
  }
  return elements;
}

interface Rest {
  readonly from: number;
  readonly last: number;
  readonly delimiter: string;
}

function endOfElement(text: string, { from, last, delimiter }: Rest): number | undefined {
  let depth = 0;
  let quoted = false;
  for (let p = from; p < last; p++) {
    const c = text[p];
    if (c === '\\') p++;
    else if (c === '"') quoted = !quoted;
    else if (!quoted && c === '{') depth++;
    else if (!quoted && c === '}') depth--;
    else if (!quoted && depth === 0 && c === delimiter) return p;
  }
  return quoted || depth !== 0 ? undefined : last;
}

function elementText(raw: string): string | null {
  if (raw === 'NULL') return null;
  if (raw.startsWith('{')) return raw;
  const inner = raw.startsWith('"') ? raw.slice(1, -1) : raw;
  return inner.includes('\\') ? inner.replaceAll(/\\(.)/gs, '$1') : inner;
}
