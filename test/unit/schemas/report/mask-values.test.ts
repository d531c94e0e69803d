/** What a report tells of an error: what was wrong, and of nobody. */
import { expect, test } from 'vitest';
import { maskValues } from '#schemas/report/mask-values.ts';

test.each([
  [
    'duplicate key value violates unique constraint "person_email_key": Key (email)=(ada@example.org) already exists.',
    'duplicate key value violates unique constraint "person_email_key": Key (email)=(…) already exists.',
  ],
  ['Key (first, last)=(Ada, Lovelace (Mrs)) is not present in table "person".', 'Key (first, last)=(…) is not present in table "person".'],
  ['Failing row contains (7, Ada (Countess), 1815-12-10).', 'Failing row contains (…).'],
  ['invalid input syntax for type integer: "07700 900123"', 'invalid input syntax for type integer: "…"'],
  ['invalid input value for enum mood: "so "" so", column "mood"', 'invalid input value for enum mood: "…", column "mood"'],
  ['value "99999" is out of range for type smallint', 'value "…" is out of range for type smallint'],
  ['the row of Ada.Lovelace+x@mail.example.org was refused', 'the row of …@… was refused'],
])('%s', (text, masked) => {
  expect(maskValues(text)).toBe(masked);
});

test('names of tables, columns and positions stay', () => {
  const text =
    'public.orders is held: column "note" of relation "orders" is gone at 0/16B3748 (CF-2006); run crossfade resume --table public.orders';
  expect(maskValues(text)).toBe(text);
});
