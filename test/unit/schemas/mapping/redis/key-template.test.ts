import { describe, expect, test } from 'vitest';
import {
  encodeKeyPart,
  hashTag,
  keyPattern,
  keyPrefix,
  mayMeet,
  parseKeyTemplate,
  templateColumns,
  type KeyTemplate,
} from '#schemas/mapping/redis/key-template.ts';
import { seeded, type Random } from '#test/support/random.ts';

function template(text: string): KeyTemplate {
  const parsed = parseKeyTemplate(text);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

function fill({ parts }: KeyTemplate, values: Readonly<Record<string, string>>): string {
  return parts.map((part) => (part.kind === 'text' ? part.text : encodeKeyPart(values[part.name]!))).join('');
}

const ALPHABET = ['a', 'B', '0', '-', '_', '.', '~', ':', '%', '{', '}', ' ', '"', '\\', '/', '|', '\n', 'é', '💥', '*', '3A'];

function anyValue(random: Random): string {
  return Array.from({ length: random.between(0, 4) }, () => ALPHABET[random.between(0, ALPHABET.length - 1)]).join('');
}

describe('a key template', () => {
  test.each([
    ['{id}', 'it has to begin with a word of its own, as in acct:{id}'],
    ['crossfade:{id}', 'keys that begin with crossfade: are our own'],
    ['crossfade{a}:{b}', 'with some values it begins with crossfade:, as our own keys do; begin with another word'],
    ['c{a}:x:gone:{{y}}', 'with some values it begins with crossfade:, as our own keys do; begin with another word'],
    ['x:{a}{b}', 'put a separator such as : between {a} and {b}'],
    ['x:{a}-{b}', 'put a separator such as : between {a} and {b}; letters, digits and -_.~ may stand in a value'],
    ['x:{a', 'a { has no }'],
    ['x:{}', 'expected a column name between { and }'],
    ['x}:{a}', 'a } stands by itself; a literal pair of braces is written {{…}}'],
    ['{{x}}:{{y}}:{a}', 'at most one literal pair of braces may stand there, the hash tag {{…}}'],
    ['x:{{}}:{a}', 'the hash tag {{…}} is empty'],
    ['x y:{a}', 'outside of {…} only printable ASCII may stand, without space, quotes, backslash and percent sign'],
  ])('%s is refused: %s', (text, reason) => expect(parseKeyTemplate(text)).toBe(reason));

  test.each(['crossfade{a}', 'crossfader:{a}', 'c{a}/{b}', 'country:{a}'])('%s never begins like a key of our own', (text) =>
    expect(template(text).text).toBe(text),
  );

  test('keeps letters, digits, -_.~ and what is not ASCII; the rest of a value is percent-encoded', () => {
    expect(fill(template('acct:{id}'), { id: 'a:b c%é/💥{}' })).toBe('acct:a%3Ab%20c%25é%2F💥%7B%7D');
    expect(fill(template('{{shop:{tenant}}}:order:{id}'), { tenant: 'a', id: '7' })).toBe('{shop:a}:order:7');
    expect(hashTag(template('{{shop:{tenant}}}:order:{id}'))).toBe('shop:{tenant}');
    expect(templateColumns(template('x:{a}:{b}'))).toEqual(['a', 'b']);
    expect(keyPrefix(template('x:{a}:{b}'))).toBe('x:');
  });

  test('gives two lists of values two keys, and matches its own keys and no others', () => {
    const random = seeded(1);
    const templates = ['x:{a}:{b}', 'x:{a}/{b}-end', '{{t:{a}}}:{b}', 'x:{a}.:.{b}'].map(template);
    for (const one of templates) {
      const pattern = keyPattern(one);
      const seen = new Map<string, string>();
      for (let i = 0; i < 5_000; i++) {
        const values = { a: anyValue(random), b: anyValue(random) };
        const key = fill(one, values);
        expect(pattern.test(key), key).toBe(true);
        expect(key.startsWith(keyPrefix(one)), key).toBe(true);
        const id = JSON.stringify(values);
        expect(seen.get(key) ?? id).toBe(id);
        seen.set(key, id);
      }
    }
    expect(keyPattern(template('x:{a}')).test('x:1:2')).toBe(false);
    expect(keyPattern(template('x:{a}')).test('x:%zz')).toBe(false);
  });

  test('is known not to meet another one, or is said to', () => {
    const meets = (a: string, b: string): boolean => mayMeet(template(a), template(b));
    expect(meets('a:{id}', 'b:{id}')).toBe(false);
    expect(meets('a:{id}', 'a:b:{id}')).toBe(false);
    expect(meets('a:{id}', 'a:b{id}')).toBe(true);
    expect(meets('a:{x}:{y}', 'a:{x}:b-{z}')).toBe(true);
    expect(meets('a:{x}', 'a:{x}:{y}')).toBe(false);
    const random = seeded(2);
    const all = ['a:{x}', 'a:{x}:{y}', 'a:b{x}', 'ab:{x}', 'a:{x}:b', 'a:.{x}', 'a:{x}~:{y}'].map(template);
    for (const one of all) {
      for (const other of all) {
        if (mayMeet(one, other)) continue;
        for (let i = 0; i < 300; i++) expect(keyPattern(other).test(fill(one, { x: anyValue(random), y: anyValue(random) }))).toBe(false);
      }
    }
  });
});
