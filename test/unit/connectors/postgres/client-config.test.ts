import pg from 'pg';
import { expect, test } from 'vitest';
import { clientConfig } from '#connectors/postgres/session.ts';

type Sent = Readonly<Record<'options' | 'application_name' | 'lock_timeout' | 'statement_timeout' | 'host', unknown>>;

/** What the server is told. */
function sent(url: string): Sent {
  const client = new pg.Client(
    clientConfig(url, { applicationName: 'crossfade test', role: 'source', settings: { lock_timeout: '5000' } }),
  );
  return (client as unknown as { readonly connectionParameters: Sent }).connectionParameters;
}

function optionsOf(url: string): string {
  return sent(url).options as string;
}

const OURS = optionsOf('postgres://u@host/db');

test('every session has our settings, whatever options its URL brings: these stand in front, so that ours count', () => {
  expect(OURS).toContain('-c extra_float_digits=1');
  expect(OURS).toContain('-c lock_timeout=5000');
  const own = '-c TimeZone=Asia/Tokyo -c extra_float_digits=0';
  const encoded = encodeURIComponent(own);
  for (const url of [
    `postgres://u@host/db?options=${encoded}`,
    `postgres://u@host/db?sslmode=disable&options=${encoded.replaceAll('%20', '+')}`,
    `postgres://u@host/db?options=ignored&options=${encoded}&application_name=shop`,
  ])
    expect(optionsOf(url)).toBe(`${own} ${OURS}`);
  expect(optionsOf('postgres://u@host/db?options=endpoint%3Dep-1')).toBe(`endpoint=ep-1 ${OURS}`);
});

test('a session bears our name and our limits, and the rest of a URL stays as it is', () => {
  const url = 'postgres://u@h/db?application_name=shop&lock_timeout=1&statement_timeout=7&options=-c%20a%3Db&host=%2Frun';
  expect(sent(url)).toMatchObject({ application_name: 'crossfade test', lock_timeout: false, statement_timeout: '7', host: '/run' });
  const address = (given: string): string | undefined => clientConfig(given, { applicationName: 'test', role: 'target' }).connectionString;
  expect(address(url)).toBe('postgres://u@h/db?lock_timeout=1&statement_timeout=7&host=%2Frun');
  for (const own of ['options=x', 'application_name=x', 'TimeZone=x'])
    expect(address(`postgres://u@h/db?${own}`)).toBe('postgres://u@h/db');
  expect(address('postgres://u@h/db?sslmode=require')).toBe('postgres://u@h/db?sslmode=require');
  expect(address('postgres://u@h/db')).toBe('postgres://u@h/db');
});
