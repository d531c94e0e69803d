/** The exact sum of numbers as PostgreSQL prints them. */
import { expect, test } from 'vitest';
import { DecimalSum } from '#schemas/reconcile/decimal-sum.ts';

function sumOf(...texts: readonly (string | null)[]): DecimalSum {
  const sum = new DecimalSum();
  for (const text of texts) sum.add(text, 1);
  return sum;
}

test.each<readonly [readonly (string | null)[], string | null]>([
  [['1e+20', '1'], '100000000000000000001'],
  [['1.5e-07', '-2.5e+02'], '-249.99999985'],
  [['1.7976931348623157e+308', '-1.7976931348623157e+308', '5e-324'], `0.${'0'.repeat(323)}5`],
  [['0', '-0', null], '0'],
  [[null], null],
])('%j is %s', (texts, value) => {
  expect(sumOf(...texts).value).toBe(value);
});

test('sums add up, and what they hold can be taken away again', () => {
  const one = sumOf('NaN', '1.25', null);
  const both = one.copy();
  both.addAll(sumOf('NaN', '-Infinity', '100'));
  both.add('NaN', -1);
  expect([both.value, one.value]).toEqual(['NaN', 'NaN']);
  both.add('NaN', -1);
  expect(both.value).toBe('-Infinity');
  both.add('-Infinity', -1);
  expect(both.value).toBe('101.25');
  for (const text of ['1.25', '100']) both.add(text, -1);
  expect(both.value).toBeNull();
});
