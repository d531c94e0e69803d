/**
 * What to do about a refused connection. Guarantee: one sentence or statement that fits the cause the server or the network gave;
 * no secret of the URL is in it.
 */
import { messageOf } from '#schemas/errors.ts';
import { quoteIdent } from '#schemas/table.ts';

interface Place {
  readonly host: string;
  readonly port: string;
  readonly database: string;
  readonly role: string;
}

type Remedy = (place: Place) => string;

/** By SQLSTATE, or the code that Node gives. */
const BY_CODE: Readonly<Record<string, Remedy>> = {
  ECONNREFUSED: ({ host, port }) =>
    `Start the server, or mend host and port in the URL: nothing listens on ${host}:${port}. (pg_isready -h ${host} -p ${port})`,
  ENOTFOUND: ({ host }) => `Mend the host in the URL: no address is known for ${host}.`,
  EAI_AGAIN: ({ host }) => `The name server gives no answer for ${host}: try again, or use an address.`,
  ETIMEDOUT: ({ host, port }) => `Let this machine through to ${host}:${port} (firewall, security group, listen_addresses).`,
  ECONNRESET: ({ host, port }) => `The server at ${host}:${port} closed the connection: read its log.`,
  '28P01': ({ role }) => `Mend the password in the URL, or set it: ALTER ROLE ${quoteIdent(role)} PASSWORD '…';`,
  '3D000': ({ database }) => `Mend the database in the URL, or make it: CREATE DATABASE ${quoteIdent(database)};`,
  '42501': ({ database, role }) => `GRANT CONNECT ON DATABASE ${quoteIdent(database)} TO ${quoteIdent(role)};`,
  '53300': ({ role }) =>
    `End idle sessions, or raise max_connections or the role's own limit: ALTER ROLE ${quoteIdent(role)} CONNECTION LIMIT -1;`,
  '57P03': () => 'The server is starting up or shutting down: try again.',
  ERR_TLS_CERT_ALTNAME_INVALID: ({ host }) => `The certificate is not for ${host}: use the host name that it names in the URL.`,
  DEPTH_ZERO_SELF_SIGNED_CERT: () => 'Name the certificate authority: add sslrootcert=/path/ca.pem to the URL.',
  SELF_SIGNED_CERT_IN_CHAIN: () => 'Name the certificate authority: add sslrootcert=/path/ca.pem to the URL.',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: () => 'Name the certificate authority: add sslrootcert=/path/ca.pem to the URL.',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: () => 'Name the certificate authority: add sslrootcert=/path/ca.pem to the URL.',
  CERT_HAS_EXPIRED: () => 'Renew the certificate of the server.',
};

/** Where the code alone does not tell the cause. */
const BY_MESSAGE: readonly (readonly [pattern: RegExp, remedy: Remedy])[] = [
  [
    /no pg_hba\.conf entry/,
    ({ database, role }) =>
      `Add to the server's pg_hba.conf, then SELECT pg_reload_conf():  hostssl ${database} ${role} <this machine>/32 scram-sha-256`,
  ],
  [/is not permitted to log in/, ({ role }) => `ALTER ROLE ${quoteIdent(role)} LOGIN;`],
  [
    /role ".*" does not exist/,
    ({ role }) => `Mend the role in the URL, or make it: CREATE ROLE ${quoteIdent(role)} LOGIN; see docs/roles.md`,
  ],
  [/too many connections for (role|database)/, ({ role }) => `End idle sessions, or ALTER ROLE ${quoteIdent(role)} CONNECTION LIMIT -1;`],
  [
    /does not support SSL/,
    () => 'Turn TLS on (ssl = on with ssl_cert_file and ssl_key_file), or take sslmode out of the URL where the network is trusted.',
  ],
  [
    /timeout expired|timed out/,
    ({ host, port }) => `Let this machine through to ${host}:${port} (firewall, security group, listen_addresses).`,
  ],
  [
    /password must be a string|no password supplied/,
    ({ role }) => `Give the password of ${role}: in the URL by reference (\${NAME}), or in PGPASSWORD.`,
  ],
];

/** What the server or the network said. */
export function connectionCause(error: unknown): string {
  return messageOf(firstCause(error));
}

/** Empty where the cause is not known: the catalogue's sentence then stands. */
export function connectionRemedy(error: unknown, url: string): { readonly remedy?: string } {
  const cause = firstCause(error);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const message = cause instanceof Error ? cause.message : '';
  const remedy =
    BY_MESSAGE.find(([pattern]) => pattern.test(message))?.[1] ??
    (typeof code === 'string' && Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined);
  return remedy === undefined ? {} : { remedy: remedy(placeOf(url)) };
}

/** A host with several addresses fails with one error for each. */
function firstCause(error: unknown): unknown {
  return error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : error;
}

function placeOf(url: string): Place {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const decode = (text: string | undefined): string => decodeURIComponent(text ?? '');
  return {
    host: decode(parsed?.searchParams.get('host') ?? parsed?.hostname) || 'localhost',
    port: parsed?.port || '5432',
    database: decode(parsed?.pathname.slice(1)),
    role: decode(parsed?.username) || 'the role',
  };
}
