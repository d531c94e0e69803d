/** Casts of a step beside PostgreSQL's own: what passes is a value there too, in the same spelling, and nothing was rounded on the way. */
import { expect, test } from 'vitest';
import { ask, takenBy } from '#test/support/ask-postgres.ts';

const NUMBERS = ['0', '-0', '0.00', '1', '100', '-100', '100.00', '12300', '1.23e4', '99900', '99949', '99950', '1e5', '150', '49', '50'];
const ODD_NUMBERS = ['0.005', '.00012', '1e-5', '123e-7', '99999', '1e2147', 'NaN', ' 7e2 ', '', 'x', '-0.00099'];

test.for(['numeric(3,-2)', 'numeric(1,-4)', 'numeric(5)', 'numeric(5,2)', 'numeric(2,5)', 'numeric(1000,-1000)', 'numeric'])(
  'a cast to %s takes what PostgreSQL keeps whole',
  async (to) => {
    const values = [...NUMBERS, ...ODD_NUMBERS];
    const kept = `CASE WHEN pg_input_is_valid(v1, '${to}') THEN CASE WHEN v1::numeric = v1::${to} THEN v1::${to} END END`;
    const expected = (await ask(kept, values)).map((value) => value ?? undefined);
    expect(values.map(takenBy({ cast: { to, onError: 'fail' } }))).toEqual(expected);
  },
);

test.for(['numeric(0)', 'numeric(1001,2)', 'numeric(3,1001)', 'numeric(3,-1001)'])('%s is no type', (to) => {
  expect(() => takenBy({ cast: { to, onError: 'fail' } })).toThrow('cannot cast to');
});
