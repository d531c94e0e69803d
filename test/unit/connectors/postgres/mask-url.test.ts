import { expect, test } from 'vitest';
import { maskUrl } from '#connectors/postgres/session.ts';

test.each([
  ['postgres://u:secret@host:5432/db', 'postgres://u:***@host:5432/db'],
  ['postgres://u:se@cret@host/db', 'postgres://u:***@host/db'],
  ['postgres://u:se/cr#et@host/db', 'postgres://u:***@host/db'],
  ['postgres:/u:secret@host/db', 'postgres:/u:***@host/db'],
  ['postgres:u:secret@host/db', 'postgres:u:***@host/db'],
  ['postgres://host/db?user=u&password=se@cret', 'postgres://host/db?user=u&password=***'],
  ['postgres://u@host:5432/db', 'postgres://u@host:5432/db'],
])('%s is shown without its password', (url, shown) => {
  expect(maskUrl(url)).toBe(shown);
});
