import { expect, test } from 'vitest';
import { parseLookup } from '#schemas/config/lookup-file.ts';

const columns = { key: 'code', value: 'name' };
const pairs = (text: string, name: string, named: Partial<typeof columns> = columns): (readonly [string, string | null])[] => [
  ...parseLookup(text, name, named).values,
];

test('CSV: quotes, empty fields, line ends of both kinds, and columns in any order', () => {
  const text = '\uFEFFname,x,code\r\n"Germany, ""D""",1,DE\n,2,FR\n"two\nlines",3,IT';
  expect(pairs(text, 'a.csv')).toEqual([
    ['DE', 'Germany, "D"'],
    ['FR', ''],
    ['IT', 'two\nlines'],
  ]);
});

test('JSON and YAML: lists of blocks, or one block; numbers keep their digits and null is null', () => {
  expect(pairs('[{"code": 7.50, "name": "x"}, {"code": "null", "name": null}]', 'a.json')).toEqual([
    ['7.50', 'x'],
    ['null', null],
  ]);
  expect(pairs('- { code: 12345678901234567890, name: true }\n- { code: b, name: ~ }\n', 'a.yaml')).toEqual([
    ['12345678901234567890', 'true'],
    ['b', null],
  ]);
  expect(pairs('DE: Germany\n01: one\n', 'a.yml', {})).toEqual([
    ['DE', 'Germany'],
    ['01', 'one'],
  ]);
});

test('the digest is the text’s', () => {
  const digest = (text: string): string => parseLookup(text, 'a.csv', columns).digest;
  expect(digest('code,name\na,b')).toBe(digest('code,name\na,b'));
  expect(digest('code,name\na,b')).not.toBe(digest('code,name\na,c'));
});

test.each([
  ['code,name\na,b\na,c', 'a.csv', 'key "a" stands there twice, with two values'],
  ['code,name\na', 'a.csv', 'line 2 has 1 fields, the first one 2'],
  ['code,name\na"b,c', 'a.csv', 'line 2 has a quote in the wrong place'],
  ['code,title\na,b', 'a.csv', 'row 1 has no column "name"'],
  ['code,name,name\na,b,c', 'a.csv', 'the first line names column "name" twice'],
  ['code,name\ra"b,c', 'a.csv', 'line 2 has a quote in the wrong place'],
  ['[{"code": "a", "name": "b", "name": "c"}]', 'a.json', 'key "name" stands there twice, with two values'],
  ['[{"code": "a", "name": "b\\u0000"}]', 'a.json', 'the value of key "name", or the key, holds a NUL or half a character'],
  ['', 'a.csv', 'there is no line that names the columns'],
  ['[{"code": null, "name": "x"}]', 'a.json', 'row 1 has no key'],
  ['{"code": "a"}', 'a.json', 'expected a list of blocks; without key: and value: one block of key: value is read'],
  ['- { code: [1], name: x }', 'a.yaml', 'a key or a value is neither text nor a number'],
])('%j is refused', (text, name, message) => {
  expect(() => pairs(text, name)).toThrow(message);
});
