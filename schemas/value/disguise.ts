/**
 * A value in disguise: another of the same form. Guarantee: each letter and digit is another than it was, of the same kind and in its
 * place; the same value under the same key always looks the same, and without the key nothing leads back.
 */
import { createHmac } from 'node:crypto';

export interface DisguisedColumn {
  /** PostgreSQL's name of the type, without modifier. */
  readonly baseType: string;
  /** Of an enum. */
  readonly labels?: readonly string[];
}

const WHOLE_MAX: Readonly<Record<string, bigint>> = { smallint: 32_767n, integer: 2_147_483_647n, bigint: 9_223_372_036_854_775_807n };
const DAYS = 20_000;
const DATED = /^(\d{4})-(\d{2})-(\d{2})(.*)$/s;

/** Undefined: the type has no disguise, the value must be left out. */
export function disguise(text: string, { baseType, labels }: DisguisedColumn, key: Buffer): string | undefined {
  const stream = new KeyedBytes(key, text);
  if (labels !== undefined && labels.length > 0) return labels[stream.below(labels.length)];
  const largest = WHOLE_MAX[baseType];
  if (largest !== undefined) return wholeNumber(text, largest, stream);
  if (baseType === 'date' || baseType.startsWith('timestamp')) return day(text, stream);
  if (baseType === 'json' || baseType === 'jsonb') return json(text, key);
  if (baseType === 'boolean') return 'f';
  if (baseType === 'bytea') return `\\x${characters(text.slice(2), stream, HEX)}`;
  if (baseType === 'uuid' || baseType === 'macaddr' || baseType === 'macaddr8') return characters(text, stream, HEX);
  if (baseType === 'inet' || baseType === 'cidr') return text.includes(':') ? '2001:db8::1' : `192.0.2.${1 + stream.below(254)}`;
  if (NUMBERS.has(baseType)) return /\d/.test(text) ? characters(text, stream, DIGITS) : '0';
  if (!TEXTS.has(baseType)) return undefined;
  return (/^\s*[{[]/.test(text) ? json(text, key) : undefined) ?? characters(text, stream, PLAIN);
}

const TEXTS: ReadonlySet<string> = new Set(['text', 'character varying', 'character', 'name', 'citext', 'public.citext']);
const NUMBERS: ReadonlySet<string> = new Set(['numeric', 'double precision', 'real', 'money']);

/** Bytes that the key and the value decide. */
class KeyedBytes {
  readonly #key: Buffer;
  readonly #text: string;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #blocks = 0;

  constructor(key: Buffer, text: string) {
    this.#key = key;
    this.#text = text;
  }

  /** In [0, limit); limit at most 2^31. */
  below(limit: number): number {
    if (this.#at + 4 > this.#block.length) {
      this.#block = createHmac('sha256', this.#key)
        .update(`${this.#blocks++}\0${this.#text}`)
        .digest();
      this.#at = 0;
    }
    const drawn = this.#block.readUInt32BE(this.#at);
    this.#at += 4;
    return drawn % limit;
  }
}

type Alphabet = readonly { readonly of: RegExp; readonly letters: string }[];

const PLAIN: Alphabet = [
  { of: /\p{N}/u, letters: '0123456789' },
  { of: /\p{Lu}/u, letters: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ' },
  // Letters, marks and signs of any script, so that nothing of it is left.
  { of: /[\p{L}\p{M}]|[^\p{ASCII}]/u, letters: 'abcdefghijklmnopqrstuvwxyz' },
];
const DIGITS: Alphabet = [{ of: /\d/, letters: '0123456789' }];
const HEX: Alphabet = [{ of: /[0-9a-f]/i, letters: '0123456789abcdef' }];

function characters(text: string, stream: KeyedBytes, alphabet: Alphabet): string {
  return Array.from(text, (character) => {
    const letters = alphabet.find(({ of }) => of.test(character))?.letters;
    if (letters === undefined) return character;
    const others = letters.replace(character.toLowerCase(), '').replace(character, '');
    return others[stream.below(others.length)]!;
  }).join('');
}

function wholeNumber(text: string, largest: bigint, stream: KeyedBytes): string {
  const drawn = characters(text, stream, PLAIN);
  const value = BigInt(drawn);
  const size = value < 0n ? -value : value;
  const fitting = size <= largest ? value : size % largest;
  return String(String(fitting) === text ? fitting / 2n + 1n : fitting);
}

/** A day within some decades, and the time of day in disguise too. */
function day(text: string, stream: KeyedBytes): string {
  const match = DATED.exec(text);
  const rest = (match?.[4] ?? '').replace(/^ \d{2}:\d{2}:\d{2}(?:\.\d+)?/, ' 12:34:56').replace(/ BC$/, '');
  const date = new Date(stream.below(DAYS) * 86_400_000).toISOString().slice(0, 10);
  return `${date === text.slice(0, 10) ? '1970-01-01' : date}${rest}`;
}

/** A name that a programmer gave; `ada@example.org`, `+49 30 1234` and `4711` are somebody's data, though they name a member. */
const MEMBER = /^(?:[A-Za-z_$][\w$.:/-]*|\d{1,3})$/;

/** The same shape with every text and number in disguise; member names stay, they are the shape, but for those that are values themselves. */
function json(text: string, key: Buffer): string | undefined {
  try {
    const value = JSON.parse(text, (_name, inner: unknown, context?: { readonly source?: string }) => {
      if (typeof inner === 'string') return characters(inner, new KeyedBytes(key, inner), PLAIN);
      if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) {
        const named = (name: string): string => (MEMBER.test(name) ? name : characters(name, new KeyedBytes(key, name), PLAIN));
        return Object.fromEntries(Object.entries(inner).map(([name, member]) => [named(name), member as unknown]));
      }
      if (typeof inner !== 'number') return inner;
      const source = context?.source ?? String(inner);
      const drawn = Number(characters(source, new KeyedBytes(key, source), PLAIN));
      return Number.isFinite(drawn) ? drawn : 0;
    }) as unknown;
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
