import { expect, test } from 'vitest';
import { maskUrl } from '#connectors/postgres/session.ts';
import { createLogger, maskSecrets } from '#services/runtime/log.ts';

test.each([
  ['postgres://u:secret@host:5432/db', 'postgres://u:***@host:5432/db'],
  ['postgres://u:se@cret@host/db', 'postgres://u:***@host/db'],
  ['postgres://u:se/cr#et@host/db', 'postgres://u:***@host/db'],
  ['postgres:/u:secret@host/db', 'postgres:/u:***@host/db'],
  ['postgres:u:secret@host/db', 'postgres:u:***@host/db'],
  ['postgres://host/db?user=u&password=se@cret', 'postgres://host/db?user=u&password=***'],
  [
    'postgres://u@host/db?sslmode=require&sslpassword=se cret&passfile=/p',
    'postgres://u@host/db?sslmode=require&sslpassword=***&passfile=/p',
  ],
  ['postgres://u@host/db?p%61ssword=se"cret', 'postgres://u@host/db?p%61ssword=***'],
  ['postgres://u@host/db?options=-c%20app.token%3Dsecret&sslmode=require', 'postgres://u@host/db?options=***&sslmode=require'],
  ['postgres://u@host/db?options=--app.token=secret', 'postgres://u@host/db?options=***'],
  ['postgres://u@host/db?options=-c%20search_path%3Dapp', 'postgres://u@host/db?options=-c%20search_path%3Dapp'],
  ['postgres://u@host:5432/db', 'postgres://u@host:5432/db'],
])('%s is shown without its password', (url, shown) => {
  expect(maskUrl(url)).toBe(shown);
});

test('a text, and whatever is logged, is shown without the secrets of the URLs in it', () => {
  const url = 'postgres://u:pw1@host/db?sslpassword=pw2&application_name=shop';
  const shown = 'postgres://u:***@host/db?sslpassword=***&application_name=shop';
  expect(maskSecrets(`of "${url}" and ${url}&password=pw3, said who`)).toBe(`of "${shown}" and ${shown}&password=*** said who`);
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', form: 'json', write: (line) => lines.push(line) });
  logger.info({ url, urls: [url], error: new Error(`not ${url}`) }, `to ${url}`);
  expect(lines.join('')).not.toMatch(/pw\d/);
  expect(lines.join('').split(shown)).toHaveLength(6);
});
