import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { castStep } from '#schemas/mapping/steps/cast-step.ts';
import { isNamedPersonal } from '#schemas/mapping/personal-data.ts';
import { disguise } from '#schemas/value/disguise.ts';

const key = randomBytes(32);
const hide = (text: string, baseType = 'text'): string => disguise(text, { baseType }, key)!;

test('the form stays, and no letter or digit is what it was', () => {
  expect(hide('Ada Lovelace')).toMatch(/^[A-Z][a-z]{2} [A-Z][a-z]{7}$/);
  expect(hide('+49 (0)30 1234-5678')).toMatch(/^\+\d{2} \(\d\)\d{2} \d{4}-\d{4}$/);
  expect(hide('José Иванов 李')).toMatch(/^[A-Z][a-z]{3} [A-Z][a-z]{5} [a-z]$/);
  for (let i = 0; i < 500; i++) {
    const text = randomBytes(12).toString('base64');
    const pairs = Array.from(hide(text), (one, at) => [one, text[at]] as const);
    expect(pairs.filter(([one, was]) => one === was && /[A-Za-z0-9]/.test(one))).toEqual([]);
  }
});

test('the same value always looks the same under one key, and otherwise under another', () => {
  expect(hide('ada@example.org')).toBe(hide('ada@example.org'));
  expect(disguise('ada@example.org', { baseType: 'text' }, randomBytes(32))).not.toBe(hide('ada@example.org'));
});

test.for([
  ['integer', ['2147483647', '-2147483648', '0', '7', '1234']],
  ['smallint', ['32767', '-5']],
  ['bigint', ['9223372036854775807', '42']],
  ['numeric(8,2)', ['123456.78', '-0.05', '0.00']],
  ['double precision', ['1e+06', '-1.5', 'NaN']],
  ['date', ['1815-12-10', '0044-03-15 BC', 'infinity']],
  ['timestamp without time zone', ['2026-01-02 03:04:05.678']],
  ['timestamp with time zone', ['2026-01-02 03:04:05+00']],
  ['uuid', ['6ba7b811-9dad-11d1-80b4-00c04fd430c8']],
  ['jsonb', ['{"name": "Ada", "n": [4711, true, null]}']],
] as const)('a value of %s is another value of that type', ([type, values]) => {
  const { apply } = castStep({ to: type, onError: 'fail' });
  for (const value of values) {
    const hidden = hide(value, type.replace(/\(.*/, ''));
    expect((apply as (text: string) => string)(hidden)).toEqual(expect.any(String));
    expect(hidden).not.toBe(value);
  }
});

test('members that are named by values are in disguise as well, those that a programmer named are not', () => {
  const hidden = hide('{"ada@example.org": {"first_name": "Ada", "0": 1}, "+49 30 1234": true, "4711": null, "Zoë": 2}', 'jsonb');
  expect(hidden).not.toMatch(/ada@|49|4711|Zoë/);
  expect(Object.keys(JSON.parse(hidden) as object)).toHaveLength(4);
  expect(hidden).toContain('"first_name"');
  expect(hidden).toContain('"0":');
});

test('an enum takes one of its labels, and a type without a disguise none at all', () => {
  expect(['a', 'b']).toContain(disguise('a', { baseType: 'public.mood', labels: ['a', 'b'] }, key));
  expect(disguise('(1,2)', { baseType: 'point' }, key)).toBeUndefined();
});

test('columns named like personal data are known by word, in any spelling', () => {
  const names = ['email', 'HomeAddress', 'cust_phone2', 'cardholder', 'birthDate', 'IBAN', 'user_ip', 'last_names'];
  expect(names.filter((name) => !isNamedPersonal(name))).toEqual([]);
  expect(['id', 'quantity', 'status', 'created_at', 'shipping'].filter(isNamedPersonal)).toEqual([]);
});
