import { expect, test } from 'vitest';
import { roundLimits } from '#services/up/compared-target.ts';

test('the running comparison looks several times where the application writes on both sides, and once elsewhere', () => {
  expect(roundLimits([{}, {}]).attempts).toBe(1);
  expect(roundLimits([{}, { conflict: 'source-wins' } as never]).attempts).toBe(3);
});
