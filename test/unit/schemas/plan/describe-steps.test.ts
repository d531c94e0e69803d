import { expect, test } from 'vitest';
import { parseLookup } from '#schemas/config/lookup-file.ts';
import { describeStep } from '#schemas/plan/describe-steps.ts';

test.each([
  ['1: en\n2: de\n', 'fail', undefined],
  ['1: en\n2: en\n', 'fail', 'several values may become one'],
  ['1: en\n2: de\n', 'keep', 'several values may become one'],
] as const)('a lookup loses nothing where what it looks into has no value twice: %j, onMiss %s', (text, onMiss, irreversible) => {
  const lookup = { file: './l.yaml', key: undefined, value: undefined, onMiss };
  const loaded = parseLookup(text, lookup.file, lookup);
  expect(describeStep({ step: { lookup: { ...lookup, loaded } }, line: 1, column: 1 }, 1).irreversible).toBe(irreversible);
});

test('what stands between columns is told where there are several', () => {
  const step = { uuid5: { namespace: 'dns', sep: '/' } };
  expect([1, 2].map((inputs) => describeStep({ step, line: 1, column: 1 }, inputs).words)).toEqual([
    'the UUID (version 5) of the text, under dns',
    'the UUID (version 5) of the text, under dns; "/" between columns',
  ]);
});
