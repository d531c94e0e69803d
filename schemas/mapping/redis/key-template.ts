/**
 * Templates of Redis keys: text, `{column}`, and `{{…}}` for a pair of literal braces (a hash tag). Guarantee: two different lists of values
 * never give the same key, and two templates that `mayMeet` denies never do: a value keeps letters, digits, `-_.~` and what is not ASCII,
 * everything else of it is percent-encoded, so the other characters of a key are always the template's own.
 */

export interface KeyTemplate {
  /** As written. */
  readonly text: string;
  readonly parts: readonly TemplatePart[];
}

export type TemplatePart = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'column'; readonly name: string };

/** Characters that a template may hold by itself: no space, quote, backslash or percent sign, none beyond ASCII. */
const LITERAL = /^[!#$&'()*+,\-./0-9:;<=>?@A-Z[\]^_`a-z|~]*$/;
/** What an encoded value never holds, so that it ends a value. */
const SEPARATOR = /[^A-Za-z0-9\-_.~%]/;
const KEPT = /^[A-Za-z0-9\-_.~\u0080-\uffff]*$/;
const ENCODED = /[^A-Za-z0-9\-_.~\u0080-\uffff]/g;

/** A template, or what is wrong with it. */
export function parseKeyTemplate(text: string): KeyTemplate | string {
  const parts: TemplatePart[] = [];
  let literal = '';
  for (let i = 0; i < text.length;) {
    const pair = text.slice(i, i + 2);
    const closing = text.indexOf('}', i);
    if (pair === '{{' || pair === '}}') {
      literal += pair[0];
      i += 2;
    } else if (text[i] === '{') {
      if (closing < 0) return 'a { has no }';
      const name = text.slice(i + 1, closing);
      if (name === '' || name.includes('{')) return 'expected a column name between { and }';
      if (literal !== '') parts.push({ kind: 'text', text: literal });
      literal = '';
      parts.push({ kind: 'column', name });
      i = closing + 1;
    } else if (text[i] === '}') {
      return 'a } stands by itself; a literal pair of braces is written {{…}}';
    } else {
      literal += text[i]!;
      i++;
    }
  }
  if (literal !== '') parts.push({ kind: 'text', text: literal });
  const template = { text, parts };
  return wrongWith(template) ?? template;
}

function wrongWith({ parts }: KeyTemplate): string | undefined {
  const literals = parts.map((part) => (part.kind === 'text' ? part.text : ''));
  const joined = literals.join('');
  if (!LITERAL.test(joined.replaceAll(/[{}]/g, '')))
    return 'outside of {…} only printable ASCII may stand, without space, quotes, backslash and percent sign';
  const tags = joined.replaceAll(/[^{}]/g, '');
  if (tags !== '' && tags !== '{}') return 'at most one literal pair of braces may stand there, the hash tag {{…}}';
  const shape = parts.map((part) => (part.kind === 'text' ? part.text : 'x')).join('');
  if (shape.includes('{}')) return 'the hash tag {{…}} is empty';
  for (let i = 1; i < parts.length; i++) {
    const [before, part, after] = [parts[i - 2], parts[i - 1]!, parts[i]!];
    if (part.kind === 'column' && after.kind === 'column') return `put a separator such as : between {${part.name}} and {${after.name}}`;
    if (before?.kind === 'column' && part.kind === 'text' && after.kind === 'column' && !SEPARATOR.test(part.text))
      return `put a separator such as : between {${before.name}} and {${after.name}}; letters, digits and -_.~ may stand in a value`;
  }
  const first = parts[0];
  if (first?.kind !== 'text' || !/[A-Za-z0-9]/.test(first.text)) return 'it has to begin with a word of its own, as in acct:{id}';
  if (first.text.startsWith(OWN)) return 'keys that begin with crossfade: are our own';
  if (mayBegin({ parts }, OWN)) return 'with some values it begins with crossfade:, as our own keys do; begin with another word';
  return undefined;
}

/** What all keys of our own begin with. */
const OWN = 'crossfade:';

/** Whether some key of the template begins so. */
function mayBegin(template: Pick<KeyTemplate, 'parts'>, prefix: string): boolean {
  const own = symbols(template);
  const meet = (i: number, j: number): boolean => {
    const [symbol, wanted] = [own[i], prefix[j]];
    if (wanted === undefined) return true;
    if (symbol === ANY) return meet(i + 1, j) || (!SEPARATOR.test(wanted) && meet(i, j + 1));
    return symbol === wanted && meet(i + 1, j + 1);
  };
  return meet(0, 0);
}

export function templateColumns({ parts }: KeyTemplate): string[] {
  return parts.flatMap((part) => (part.kind === 'column' ? [part.name] : []));
}

/** The part of a key that stands for a value. */
export function encodeKeyPart(value: string): string {
  if (KEPT.test(value)) return value;
  return value.replaceAll(ENCODED, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
}

/** The text between the braces of the hash tag, as a template; undefined: the whole key decides the slot. */
export function hashTag({ text }: KeyTemplate): string | undefined {
  const match = /\{\{(.*)\}\}/.exec(text);
  return match?.[1];
}

/** What every key of the template begins with. */
export function keyPrefix({ parts }: KeyTemplate): string {
  return parts[0]?.kind === 'text' ? parts[0].text : '';
}

/** Exactly the keys that the template can give, as a regular expression. */
export function keyPattern({ parts }: KeyTemplate): RegExp {
  const source = parts.map((part) => (part.kind === 'text' ? part.text.replaceAll(/[^A-Za-z0-9]/g, String.raw`\$&`) : VALUE));
  return new RegExp(`^${source.join('')}$`);
}

const VALUE = String.raw`(?:[A-Za-z0-9\-_.~\u0080-\uffff]|%[0-9A-F]{2})*`;

/** Whether some key could come of both. */
export function mayMeet(a: KeyTemplate, b: KeyTemplate): boolean {
  const [x, y] = [symbols(a), symbols(b)];
  const seen = new Set<number>();
  const meet = (i: number, j: number): boolean => {
    if (i === x.length && j === y.length) return true;
    const id = i * (y.length + 1) + j;
    if (seen.has(id)) return false;
    seen.add(id);
    const [s, t] = [x[i], y[j]];
    if (s === ANY && meet(i + 1, j)) return true;
    if (t === ANY && meet(i, j + 1)) return true;
    if (s === undefined || t === undefined) return false;
    if (s === ANY && t === ANY) return false; // either of them may be empty: tried above
    if (s === ANY) return !SEPARATOR.test(t) && meet(i, j + 1);
    if (t === ANY) return !SEPARATOR.test(s) && meet(i + 1, j);
    return s === t && meet(i + 1, j + 1);
  };
  return meet(0, 0);
}

/** Stands for any encoded value. */
const ANY = '';

function symbols({ parts }: Pick<KeyTemplate, 'parts'>): string[] {
  return parts.flatMap((part) => (part.kind === 'column' ? [ANY] : [...part.text]));
}
