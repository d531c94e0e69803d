/** How a parcel's records become batches. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Parcel } from '#connectors/change-log/kafka/order/parcel.ts';

const LARGE_BYTES = 400 * 1024;

test.each([
  ['its value', undefined, randomBytes(LARGE_BYTES), []],
  ['its key', randomBytes(LARGE_BYTES), undefined, []],
  ['what stands beside its value', undefined, undefined, [{ name: 'cfx', value: randomBytes(LARGE_BYTES) }]],
])('a record that is large by %s goes in a batch of its own', (_, key, value, headers) => {
  const parcel = new Parcel(0, 'none');
  for (let i = 0; i < 3; i++) parcel.place({ index: 0, name: 'm.public.a' }, 0).add(key, value, headers);
  expect(parcel.take().map(({ records }) => records.count)).toEqual([1, 1, 1]);
});
