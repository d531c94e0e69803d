/** Keys of rows, read back into the values that they were made of. */
import { expect, test } from 'vitest';
import { keyReader, nameOf } from '#connectors/probe/redis/row-keys.ts';
import { parseKeyTemplate, type KeyTemplate } from '#schemas/mapping/redis/key-template.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

function template(text: string): KeyTemplate {
  const parsed = parseKeyTemplate(text);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

const TEMPLATES = ['acct:{a}', 'x:{a}:{b}', '{{shop:{b}}}:order:{a}', 'p.{a}/{b}:{a}', 'w$({b})^{a}'];
const ALPHABET = [...'ab1-_.~:/%{}[]*?\\" \t', 'é', '💥', '%3A', ''];

test('any values come back out of the key that they give', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  for (const text of TEMPLATES) {
    const key = template(text);
    const columns = text.includes('{b}') ? ['b', 'a'] : ['a'];
    const read = keyReader(key, columns);
    for (let i = 0; i < 300; i++) {
      const values = columns.map(() =>
        Array.from({ length: random.between(0, 4) }, () => ALPHABET[random.between(0, ALPHABET.length - 1)]).join(''),
      );
      const name = nameOf(key, (column) => values[columns.indexOf(column)]!)!;
      expect(read(name), `seed ${seed}: ${name}`).toEqual(values);
    }
  }
});

test('what no values give is no key', () => {
  const read = keyReader(template('x:{a}:{b}:{a}'), ['a', 'b']);
  expect(read('x:1:2:1')).toEqual(['1', '2']);
  for (const name of ['x:1:2:3', 'x:1:2', 'y:1:2:1', 'x:1:2:1:', 'x:%31:2:%31', 'x:a b:2:a b', 'x:%zz:2:%zz', 'x:%3a:2:%3a', '']) {
    expect(read(name), name).toBeUndefined();
  }
});

test('a NULL gives no name', () => {
  expect(nameOf(template('by:{a}'), () => null)).toBeUndefined();
  expect(nameOf(template('by:{a}'), () => '')).toBe('by:');
});
