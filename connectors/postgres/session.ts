/**
 * Sessions to PostgreSQL. Guarantee: every session of ours gives values as the server's own text form under the same settings
 * (time zone, date style, float digits, bytea, interval style), so a value has one text wherever it is read.
 */
import pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import { maskParameters } from '#schemas/url-secrets.ts';
import { connectionCause, connectionRemedy } from './connection-remedy.ts';

/**
 * Settings that decide a value's text form, or how a text or a statement of ours is read: a role or a database may have others. The
 * walsender, chunk reads, the sink and verify must all use these.
 */
export const VALUE_SETTINGS: Readonly<Record<string, string>> = {
  TimeZone: 'UTC',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  xmlbinary: 'base64',
  xmloption: 'content',
  array_nulls: 'on',
  quote_all_identifiers: 'off',
  standard_conforming_strings: 'on',
  client_encoding: 'UTF8',
  search_path: 'pg_catalog',
  lc_monetary: 'C',
};

export interface SessionOptions {
  readonly applicationName: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Milliseconds; 10 s when absent. */
  readonly connectTimeoutMs?: number;
  readonly role: 'source' | 'target';
}

/** Everything as text: json would lose big numbers, dates their microseconds. */
const textOnly: pg.CustomTypesConfig = { getTypeParser: () => (value: string | Buffer) => value as string };

/** Client options for `url` (a postgres:// URL; sslmode and sslrootcert as libpq spells them). What it sets, ours set over it. */
export function clientConfig(url: string, options: SessionOptions): pg.ClientConfig {
  const settings = { ...VALUE_SETTINGS, ...options.settings };
  const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replaceAll(/[\\ ]/g, String.raw`\$&`)}`);
  const { address, own } = takeOver(url, settings);
  return {
    connectionString: address,
    application_name: options.applicationName,
    options: [...own, ...flags].join(' '),
    types: textOnly,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
  };
}

/**
 * What a URL sets, node-postgres takes in place of what it is given besides: our value settings would be gone with its `options`, and a session
 * would not be known as ours by another name. @returns the URL without these, and its last `options`.
 */
function takeOver(url: string, settings: Readonly<Record<string, string>>): { readonly address: string; readonly own: readonly string[] } {
  const [address = '', ...queries] = url.split('?');
  const parts = queries.join('?').split('&');
  const nameOf = (part: string): string => [...new URLSearchParams(part).keys()][0] ?? '';
  const isOurs = (name: string): boolean => name === 'options' || name === 'application_name' || Object.hasOwn(settings, name);
  const rest = parts.filter((part) => !isOurs(nameOf(part)));
  const own = parts.flatMap((part) => new URLSearchParams(part).get('options') ?? []).slice(-1);
  return { address: rest.join('') === '' ? address : `${address}?${rest.join('&')}`, own };
}

/** Opens a session. @throws PipelineError CF-2001 / CF-5001 when the server cannot be reached or refuses the role. */
export async function connect(url: string, options: SessionOptions): Promise<pg.Client> {
  const client = new pg.Client(clientConfig(url, options));
  // An idle session whose server goes away reports it by event; the next query fails with the cause, so nothing is lost here.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw new PipelineError(
      options.role === 'source' ? 'CF-2001' : 'CF-5001',
      `cannot connect to the ${options.role} (${maskUrl(url)}): ${connectionCause(error)}`,
      {
        cause: error,
        ...connectionRemedy(error, url),
      },
    );
  }
}

/** The URL without its secrets, for messages. */
export function maskUrl(url: string): string {
  // Up to the last @, and without insisting on the slashes: whoever mistypes a URL must not find the password in a log.
  return maskParameters(url).replace(/^([^:]*:\/*[^:/@]*):.*@/s, '$1:***@');
}

/** One row of text values; undefined when the query gave none. */
export async function queryRow(
  client: pg.ClientBase,
  sql: string,
  values: readonly unknown[] = [],
): Promise<Record<string, string | null> | undefined> {
  const result = await client.query<Record<string, string | null>>(sql, [...values]);
  return result.rows[0];
}

export async function queryRows(
  client: pg.ClientBase,
  sql: string,
  values: readonly unknown[] = [],
): Promise<Record<string, string | null>[]> {
  const result = await client.query<Record<string, string | null>>(sql, [...values]);
  return result.rows;
}
