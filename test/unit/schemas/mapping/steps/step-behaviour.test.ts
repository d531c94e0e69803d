import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { Secret } from '#schemas/config/secret.ts';
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { buildStep } from '#schemas/mapping/steps/build-step.ts';
import { StepRefusal, type Value } from '#schemas/mapping/steps/step.ts';
import type { CatalogColumn } from '#schemas/table.ts';

const KEY = new Secret('a key that is long enough');

function column(name: string, typeName: string): CatalogColumn {
  return {
    name,
    typeName,
    typeOid: 0,
    typmod: -1,
    type: typeName,
    baseType: typeName,
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull: false,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: -1,
  };
}

/** What the step makes of a value, or of several; an error's message in place of the value. */
function made(block: StepBlock, value: Value | readonly Value[], inputs: readonly CatalogColumn[] = []): Value {
  const step = buildStep(block, { inputs });
  try {
    if (step.takes === 'many') return step.apply(Array.isArray(value) ? (value as Value[]) : [value as Value]);
    return step.apply(value as Value);
  } catch (error) {
    return `! ${(error as Error).message}`;
  }
}

const NO_TEXT = '! the JSON text holds a NUL or half a character (a lone surrogate), which no text of PostgreSQL can';

const CASES: readonly (readonly [string, StepBlock, readonly (readonly [Value, Value])[]])[] = [
  [
    'trim',
    { trim: 'both' },
    [
      [' a\t', 'a'],
      ['\u00a0a\u2003', 'a'],
      ['', ''],
    ],
  ],
  ['trim at one end', { trim: 'end' }, [[' a ', ' a']]],
  [
    'case',
    { case: 'upper' },
    [
      ['straße', 'STRASSE'],
      ['', ''],
    ],
  ],
  [
    'default',
    { default: 'x' },
    [
      [null, 'x'],
      ['', ''],
    ],
  ],
  [
    'nullIf',
    { nullIf: '' },
    [
      ['', null],
      [' ', ' '],
    ],
  ],
  [
    'map that fails',
    { map: { values: { A: 'active', N: null }, else: 'fail' } },
    [
      ['A', 'active'],
      ['N', null],
      ['a', '! the value is none of the 2 that are listed'],
      ['__proto__', '! the value is none of the 2 that are listed'],
    ],
  ],
  ['map that keeps', { map: { values: { A: 'active' }, else: 'keep' } }, [['b', 'b']]],
  ['map with another', { map: { values: { A: 'active' }, else: { value: null } } }, [['b', null]]],
  [
    'cast to integer',
    { cast: { to: 'int', onError: 'fail' } },
    [
      [' +12 ', '12'],
      ['-0', '0'],
      ['2147483647', '2147483647'],
      ['2147483648', '! the value is no int'],
      ['1.0', '! the value is no int'],
      ['', '! the value is no int'],
    ],
  ],
  [
    'cast to numeric',
    { cast: { to: 'numeric(5,2)', onError: 'null' } },
    [
      ['1e2', '100.00'],
      ['999.990', '999.99'],
      ['999.995', null],
      ['1000', null],
      ['.5', '0.50'],
    ],
  ],
  [
    'cast to boolean',
    { cast: { to: 'boolean', onError: { value: 'f' } } },
    [
      ['YES', 't'],
      ['0', 'f'],
      ['maybe', 'f'],
    ],
  ],
  [
    'cast to date',
    { cast: { to: 'date', onError: 'null' } },
    [
      ['2024-02-29', '2024-02-29'],
      ['2023-02-29', null],
      ['29.02.2024', null],
      ['infinity', 'infinity'],
    ],
  ],
  [
    'cast to timestamp with time zone',
    { cast: { to: 'timestamptz', onError: 'null' } },
    [
      ['2024-02-29T01:02:03Z', '2024-02-29T01:02:03Z'],
      ['2024-02-29 01:02:03', null],
    ],
  ],
  [
    'cast to uuid',
    { cast: { to: 'uuid', onError: 'null' } },
    [
      ['A0EEBC999C0B4EF8BB6D6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
      ['a0eebc99', null],
    ],
  ],
  [
    'cast to jsonb',
    { cast: { to: 'jsonb', onError: 'null' } },
    [
      ['{"a":1}', '{"a":1}'],
      ['{"a":"\\u0000"}', null],
      ['{a}', null],
    ],
  ],
  [
    'encoding',
    { encoding: { readAs: 'windows-1252', is: 'utf-8', onError: 'fail' } },
    [
      ['MÃ¼ller â‚¬', 'Müller €'],
      ['plain', 'plain'],
      ['Müller', '! the value is no utf-8 that was read as windows-1252'],
      ['日', '! the value is no utf-8 that was read as windows-1252'],
    ],
  ],
  [
    'encoding that keeps',
    { encoding: { readAs: 'latin1', is: 'utf-8', onError: 'keep' } },
    [
      ['Müller', 'Müller'],
      ['Ã¼', 'ü'],
    ],
  ],
  ['encoding the other way', { encoding: { readAs: 'utf-8', is: 'windows-1252', onError: 'fail' } }, [['ü€', 'Ã¼â‚¬']]],
  [
    'decimal',
    { decimal: { scale: 2, divide: '100' } },
    [
      ['12345', '123.45'],
      ['-5', '-0.05'],
      ['NaN', 'NaN'],
      ['1.5', '! the value has more digits behind the point than are kept, and no rounding is named'],
      ['1,5', '! the value is no decimal number'],
      ['', '! the value is no decimal number'],
    ],
  ],
  [
    'split with a limit',
    { split: { by: ',', take: -1, limit: 2 } },
    [
      ['a,b,c', 'b,c'],
      ['a', 'a'],
      ['', ''],
    ],
  ],
  ['split beyond the end', { split: { by: ',', take: 3 } }, [['a,b', null]]],
  [
    'extract',
    { extract: '/a~1b/0' },
    [
      ['{"a/b": ["x", 1]}', 'x'],
      ['{"a/b": []}', null],
      ['{"a/b": [null]}', null],
      ['{', '! the value is no JSON'],
      ['{"a/b": ["\\u0000"]}', NO_TEXT],
      ['{"a/b": ["\\ud800"]}', NO_TEXT],
      ['{"a/b": ["\\ud83d\\ude00"]}', '😀'],
      ['{"a/b": ["x"], "c": nul}', '! the value is no JSON'],
      ['{"a/b": [\'x\']}', '! the value is no JSON'],
      ['{"a/b": [01]}', '! the value is no JSON'],
      ['{"a/b": [1}]}', '! the value is no JSON'],
    ],
  ],
  [
    'element',
    { element: -1 },
    [
      ['{1,2}', '2'],
      ['[0:1]={7,8}', '8'],
      ['{{1,2},{3,4}}', '{3,4}'],
      ['x', '! the value is no array'],
    ],
  ],
  ['hash', { hash: { algorithm: 'md5', encoding: 'hex' } }, [['', 'd41d8cd98f00b204e9800998ecf8427e']]],
  [
    'mask',
    { mask: { keepStart: 1, keepEnd: 2, with: '*' } },
    [
      ['abcdef', 'a***ef'],
      ['abc', '***'],
      ['😀bcdé😀', '😀***é😀'],
      ['', ''],
    ],
  ],
];

test.for(CASES)('%s', ([, block, pairs]) => {
  expect(pairs.map(([value]) => made(block, value))).toEqual(pairs.map(([, wanted]) => wanted));
});

test('null passes through every step that is not about null', () => {
  const aware = new Set(['default']);
  for (const [name, block] of CASES) if (!aware.has(name)) expect(made(block, null), name).toBe(null);
  expect(made({ hmac: { key: KEY, algorithm: 'sha256', encoding: 'hex' } }, null)).toBe(null);
  expect(made({ tokenise: { key: KEY } }, null)).toBe(null);
  expect(made({ zone: { from: 'Europe/Berlin', ambiguous: 'fail', skipped: 'fail' } }, null)).toBe(null);
});

test('several columns become one', () => {
  expect(made({ concat: { sep: ' ', nulls: 'skip' } }, ['a', null, '', 'b'])).toBe('a  b');
  expect(made({ concat: { sep: ' ', nulls: 'skip' } }, [null, null])).toBe(null);
  expect(made({ concat: { sep: '-', nulls: 'empty' } }, ['a', null, 'b'])).toBe('a--b');
  expect(made({ concat: { sep: '-', nulls: 'null' } }, ['a', null])).toBe(null);
  expect(made({ coalesce: true }, [null, '', 'b'])).toBe('');
  const inputs = [column('n', 'numeric'), column('t', 'text'), column('j', 'jsonb'), column('b', 'bool'), column('f', 'float8')];
  expect(made({ object: true }, ['1.50', 'a"b', '{"x": 1}', 't', 'NaN'], inputs)).toBe(
    '{"n": 1.50, "t": "a\\"b", "j": {"x": 1}, "b": true, "f": "NaN"}',
  );
  expect(made({ object: ['p', 'q'] }, [null, ''], inputs.slice(0, 2))).toBe('{"p": null, "q": ""}');
});

test('an expression sees exact numbers, and null as SQL does', () => {
  const inputs = [column('price', 'numeric'), column('n', 'int8'), column('name', 'text'), column('ok', 'bool')];
  const of = (cel: string, values: readonly Value[]): Value => made({ cel }, values, inputs);
  expect(of('row.price * row.n', ['0.1', '9007199254740993', null, null])).toBe('900719925474099.3');
  expect(of('row.price == 0.10 && row.ok', ['0.1', '1', null, 't'])).toBe('t');
  expect(of('row.price >= 1 ? "big" : "small"', [null, '1', null, null])).toBe(null);
  expect(of('has(row.name) ? row.name : "none"', ['1', '1', null, null])).toBe('none');
  expect(of('row.price.round(1, "half-even")', ['0.25', '1', null, null])).toBe('0.2');
  expect(of('row.n + 1', ['1', '9223372036854775807', null, null])).toBe('! the expression failed (numeric_overflow)');
  expect(() => of('row.nmae', [])).toThrow('at character 5: No such key: nmae; did you mean "name"?');
  expect(() => of('row.n + row.name', [])).toThrow('at character 1: no such overload: int + string');
  expect(() => of('[row.n]', [])).toThrow('the expression gives list<int>; expected text, a number, or true or false');
});

test('an expression that fails refuses its row, and says nothing of it', () => {
  const whole = buildStep({ cel: 'int(row.s)' }, { inputs: [column('s', 'text')] });
  for (const value of ['hunter2', '', ' 1', '0x10', '9223372036854775808']) {
    const apply = (): Value => (whole.apply as (values: readonly Value[]) => Value)([value]);
    expect(apply).toThrow(new StepRefusal('the expression failed (int_conversion_error)'));
  }
});

test('an expression counts characters, and takes a text for a number only where all of it is one', () => {
  const inputs = [column('s', 'text'), column('f', 'float8')];
  const of = (cel: string, s: string, f = '0'): Value => made({ cel }, [s, f], inputs);
  expect(of('row.s.substring(row.s.size() - 2)', '😀😀ab')).toBe('ab');
  expect(of('row.s.substring(0, row.s.indexOf("a"))', '😀😀ab')).toBe('😀😀');
  expect(of('row.s.lastIndexOf("a", 3)', '😀aba')).toBe('3');
  expect(of('row.s.substring(3)', 'ab')).toBe('! the expression failed (index_out_of_range)');
  expect(of('row.s.upperAscii()', 'aß')).toBe('Aß');
  expect(of('int(row.s) + int(row.f)', '+7', '2.9')).toBe('9');
  expect(of('int(row.f)', '', '1e20')).toBe('! the expression failed (int_conversion_error)');
  expect(of('double(row.s)', '0x10')).toBe('! the expression failed (double_conversion_error)');
  expect(of('double(row.s) + double(5u)', '1.5e1')).toBe('20');
  expect(of('row.f', '', '-0')).toBe('-0');
  expect(of('int(row.s) > 5 || row.f == 0.0', '')).toBe('t');
});

test('an expression tells no time, which would be of milliseconds and in the zone of the process', () => {
  const inputs = [column('t', 'timestamp')];
  for (const cel of [
    'timestamp(row.t).getHours()',
    'timestamp(row.t) < timestamp("2024-01-01T00:00:00Z")',
    'duration(row.t) == duration("1s")',
  ])
    expect(() => made({ cel }, ['2024-01-01 00:00:00'], inputs), cel).toThrow('cannot be used here');
  expect(() => made({ cel: '5u' }, ['x'], inputs)).toThrow('the expression gives uint');
});

test('an expression takes no pattern, which could hold up all tables, and reads no JSON, whose errors quote it', () => {
  const inputs = [column('s', 'text')];
  const of = (cel: string): Value => made({ cel }, ['x'], inputs);
  for (const cel of [
    'row.s.matches("(a+)+$")',
    '!("" + row.s).matches(row.s)',
    '[row.s].exists(x, x.matches("a")) ? 1 : 2',
    'dyn(row.s).matches("a")',
  ]) {
    expect(() => of(cel), cel).toThrow('`matches` cannot be used here');
  }
  expect(() => of('string(bytes(row.s).json().a)')).toThrow('`json` cannot be used here');
  expect(of('{"matches": row.s}.matches')).toBe('x');
});

test('a token keeps the form of its text, is always the same, and no two texts of a form share one', () => {
  const token = (text: string, key = KEY): Value => made({ tokenise: { key } }, text);
  expect(token('+1 (555) 010-9999')).toMatch(/^\+\d \(\d{3}\) \d{3}-\d{4}$/);
  expect(token('Ann-Marie 7 €')).toMatch(/^[A-Z][a-z]{2}-[A-Z][a-z]{4} \d €$/);
  expect(token('')).toBe('');
  expect(token('12345')).toBe(token('12345'));
  expect(token('12345', new Secret('another key, long enough'))).not.toBe(token('12345'));
  for (const digits of [1, 2, 3]) {
    const all = Array.from({ length: 10 ** digits }, (_, i) => token(String(i).padStart(digits, '0')));
    expect(new Set(all).size).toBe(10 ** digits);
  }
});

test('a text with letters or digits that a token would show is refused, and one that would take long', () => {
  const token = (text: string): Value => made({ tokenise: { key: KEY } }, text);
  for (const text of ['Иванов', 'José', 'Jose\u0301', '日本', '٣', 'x²', '𝒜']) {
    expect(token(text), text).toBe('! the value has a letter or digit other than A to Z, a to z and 0 to 9, which would pass in clear');
  }
  expect(token('a'.repeat(4096))).toMatch(/^[a-z]{4096}$/);
  expect(token('a'.repeat(4097))).toBe('! the value has more than 4096 characters');
});

test('a secret is never printed', () => {
  expect([String(KEY), JSON.stringify({ KEY }), inspect({ KEY })]).toEqual(['***', '{"KEY":"***"}', '{ KEY: *** }']);
});
