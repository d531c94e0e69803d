import { describe, expect, test } from 'vitest';
import type { Tolerance } from '#schemas/config/check-entry.ts';
import { compareKeyed, compareLists, type List } from '#schemas/reconcile/checks/compare-answers.ts';
import { isNear } from '#schemas/reconcile/checks/decimal.ts';

const EXACT: Tolerance = { unit: 'absolute', amount: '0' };
const absolute = (amount: string): Tolerance => ({ unit: 'absolute', amount });
const percent = (amount: string): Tolerance => ({ unit: 'percent', amount });

describe('numbers', () => {
  test.each([
    ['1.50', '1.5', EXACT, true],
    ['9007199254740993', '9007199254740992', EXACT, false],
    ['-0.0', '0', EXACT, true],
    ['1e3', '1000', EXACT, true],
    ['100', '100.01', absolute('0.01'), true],
    ['100', '100.011', absolute('0.01'), false],
    ['-200', '-201', percent('0.5'), true],
    ['-200', '-201.01', percent('0.5'), false],
    ['0', '0.0001', percent('99'), false],
    ['NaN', 'NaN', EXACT, true],
    ['Infinity', '1', percent('100'), false],
    ['', '0', EXACT, false],
  ])('%s and %s', (source, target, tolerance, near) => {
    expect(isNear(source, target, tolerance)).toBe(near);
  });
});

describe('rows with a key', () => {
  const check = {
    keys: 1,
    tolerance: absolute('0.5'),
    columns: [
      { label: 'area', shown: false, numeric: false },
      { label: 'sum(total)', shown: true, numeric: true },
    ],
  };

  test('are more than one where they stand twice', () => {
    const compared = compareKeyed(check, [['a', '1']], [['a', '1'], ['a', '1']]); // prettier-ignore
    expect(compared).toMatchObject({ equal: false, message: 'one row differs (1 only on the target): area = a' });
  });

  test('are paired by it, in any order', () => {
    const source = [
      ['a', '1'],
      [null, '2'],
    ];
    expect(
      compareKeyed(check, source, [
        [null, '2.5'],
        ['a', '1.0'],
      ]),
    ).toMatchObject({ equal: true });
  });

  test('that only one side has are named by it', () => {
    const compared = compareKeyed(
      check,
      [
        ['a', '1'],
        ['b', '1'],
        ['c', '7'],
      ],
      [
        ['b', '3'],
        ['c', '7'],
        ['d', '1'],
      ],
    );
    expect(compared).toEqual({
      equal: false,
      source: '1',
      target: null,
      message: '3 rows differ in sum(total) (1 only at the source, 1 only on the target): area = a; area = b; area = d',
    });
  });

  test('show no value of a column that may not be shown', () => {
    const hidden = { ...check, columns: [check.columns[0]!, { label: 'mail', shown: false, numeric: false }] };
    const compared = compareKeyed(hidden, [['a', 'ann@example.org']], [['a', 'bob@example.org']]);
    expect(compared).toEqual({ equal: false, source: 'one row', target: 'one row', message: 'one row differs in mail: area = a' });
  });
});

describe('lists', () => {
  const list = (...rows: (string | null)[][]): List => ({ rows, numeric: [false, true], names: ['area', 'total'] });
  const rules = { ordered: false, tolerance: absolute('0.1') };

  test('without order are equal in any order, and a tolerance pairs rows by their texts', () => {
    expect(compareLists(list(['a', '1'], ['b', '1.05'], ['b', null]), list(['b', null], ['b', '1'], ['a', '1.1']), rules)).toMatchObject({
      equal: true,
    });
  });

  test('are paired by their whole numbers before others, which a tolerance lets come in another order', () => {
    const sums = (...rows: [string, string][]): List => ({ rows, numeric: [true, true], names: ['total', 'id'] });
    const source = sums(['0.30000000000000004', '1'], ['0.3', '2']);
    const within = { ordered: false, tolerance: absolute('0.01') };
    expect(compareLists(source, sums(['0.3', '1'], ['0.30000000000000004', '2']), within)).toMatchObject({ equal: true });
    expect(compareLists(source, sums(['0.3', '1'], ['0.5', '2']), within)).toMatchObject({
      equal: false,
      message: 'one row differs in total',
    });
  });

  test('count equal rows as often as they stand there', () => {
    expect(compareLists(list(['a', '1'], ['a', '1'], ['b', '1']), list(['a', '1'], ['b', '1'], ['b', '1']), rules)).toMatchObject({
      equal: false,
      message: 'one row differs in area',
    });
  });

  test('with order differ where they are in another one', () => {
    const ordered = { ...rules, ordered: true };
    expect(compareLists(list(['a', '1'], ['b', '9']), list(['b', '9'], ['a', '1']), ordered)).toMatchObject({
      equal: false,
      message: '2 rows differ in area, total',
    });
  });

  test('of other lengths tell both', () => {
    expect(compareLists(list(['a', '1']), list(), rules)).toMatchObject({
      equal: false,
      source: 'one row',
      target: '0 rows',
      message: 'one row differs (1 at the source, 0 on the target)',
    });
  });

  test('of one number show it', () => {
    const one = (value: string): List => ({ rows: [[value]], numeric: [true], names: ['n'] });
    expect(compareLists(one('4'), one('5'), rules)).toMatchObject({ source: '4', target: '5', equal: false });
  });
});
