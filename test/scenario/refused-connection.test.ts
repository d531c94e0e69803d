/** A refused connection says what to do about it, whatever the cause; asked of real servers. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { makeCertificates } from '#test/support/certificate.ts';
import { execute } from '#test/support/application.ts';
import { type PostgresServer, startPostgres } from '#test/support/postgres.ts';

let server: PostgresServer;
let caFile: string;

beforeAll(async () => {
  const { ca, cert, key } = makeCertificates({ hosts: ['somewhere.else'] });
  caFile = join(mkdtempSync(join(tmpdir(), 'crossfade-refused-')), 'ca.pem');
  writeFileSync(caFile, ca);
  const hba = [
    'host fenced,absent all 127.0.0.1/32 trust',
    'host postgres secretive 127.0.0.1/32 scram-sha-256',
    'host postgres all 127.0.0.1/32 trust',
  ];
  server = await startPostgres({ version: 18, ssl: { cert, key }, hba });
  await execute(
    server.url(),
    'CREATE ROLE idle_role NOLOGIN',
    "CREATE ROLE secretive LOGIN PASSWORD 'right'",
    'CREATE ROLE full_role LOGIN CONNECTION LIMIT 0',
    'CREATE DATABASE fenced',
    'REVOKE CONNECT ON DATABASE fenced FROM PUBLIC',
    'CREATE ROLE outsider LOGIN',
  );
  return async () => server.stop();
});

const REFUSALS: readonly { readonly what: string; readonly url: () => string; readonly remedy: RegExp }[] = [
  { what: 'nothing listens', url: () => 'postgres://me@127.0.0.1:1/x', remedy: /nothing listens on 127\.0\.0\.1:1/ },
  { what: 'no address', url: () => 'postgres://me@no-such-host.invalid/x', remedy: /no-such-host\.invalid/ },
  { what: 'no way in for a database', url: () => `postgres://postgres@127.0.0.1:${server.port}/nowhere`, remedy: /pg_hba\.conf/ },
  { what: 'no such database', url: () => `postgres://postgres@127.0.0.1:${server.port}/absent`, remedy: /CREATE DATABASE "absent";/ },
  { what: 'no such role', url: () => `postgres://absent@127.0.0.1:${server.port}/postgres`, remedy: /CREATE ROLE "absent" LOGIN/ },
  {
    what: 'a role without LOGIN',
    url: () => `postgres://idle_role@127.0.0.1:${server.port}/postgres`,
    remedy: /ALTER ROLE "idle_role" LOGIN;/,
  },
  {
    what: 'a wrong password',
    url: () => `postgres://secretive:wrong@127.0.0.1:${server.port}/postgres`,
    remedy: /ALTER ROLE "secretive" PASSWORD '…';/,
  },
  { what: 'no password', url: () => `postgres://secretive@127.0.0.1:${server.port}/postgres`, remedy: /Give the password of secretive/ },
  {
    what: 'no sessions left',
    url: () => `postgres://full_role@127.0.0.1:${server.port}/postgres`,
    remedy: /ALTER ROLE "full_role" CONNECTION LIMIT -1/,
  },
  {
    what: 'no CONNECT',
    url: () => `postgres://outsider@127.0.0.1:${server.port}/fenced`,
    remedy: /GRANT CONNECT ON DATABASE "fenced" TO "outsider";/,
  },
  {
    what: 'an unknown authority',
    url: () => `postgres://postgres@127.0.0.1:${server.port}/postgres?sslmode=verify-full`,
    remedy: /sslrootcert/,
  },
  {
    what: 'a certificate for another host',
    url: () => `postgres://postgres@127.0.0.1:${server.port}/postgres?sslmode=verify-full&sslrootcert=${encodeURIComponent(caFile)}`,
    remedy: /The certificate is not for 127\.0\.0\.1/,
  },
];

test.for(REFUSALS)('$what', async ({ url, remedy }) => {
  const opening = connect(url(), { applicationName: 'test', role: 'target' });
  await expect(opening).rejects.toMatchObject({ code: 'CF-5001', remedy: expect.stringMatching(remedy) as string });
  await expect(opening).rejects.not.toThrow(/wrong/);
});
