/**
 * X.509 certificates for TLS tests, made on the spot: a checked-in one would run out some day. Guarantee: `cert` names every host and
 * address given and is signed by `ca`, so a client with sslmode=verify-full and that root accepts it, and refuses it under another name.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificates {
  /** PEM texts; `cert` and `key` are the server's. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex');
const COMMON_NAME = Buffer.from('0603550403', 'hex');
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex');
const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex');

export function makeCertificates(names: { readonly hosts: readonly string[]; readonly addresses?: readonly string[] }): Certificates {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const isAuthority = extension(BASIC_CONSTRAINTS, sequence(tagged(0x01, Buffer.from([0xff]))));
  const addresses = (names.addresses ?? []).map((address) => tagged(0x87, Buffer.from(address.split('.').map(Number))));
  const hosts = names.hosts.map((host) => tagged(0x82, Buffer.from(host)));
  const alternatives = extension(SUBJECT_ALT_NAME, sequence(...hosts, ...addresses));
  return {
    ca: certificate({ subject: 'Crossfade test CA', publicKey: authority.publicKey, signer: authority.privateKey, extension: isAuthority }),
    cert: certificate({
      subject: names.hosts[0] ?? 'server',
      publicKey: server.publicKey,
      signer: authority.privateKey,
      extension: alternatives,
    }),
    key: server.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}

interface Contents {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly extension: Buffer;
}

function certificate(contents: Contents): string {
  const body = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))), // version 3
    tagged(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])), // serial number, positive
    ECDSA_WITH_SHA256,
    nameOf('Crossfade test CA'),
    sequence(time(Date.now() - DAY_MS), time(Date.now() + DAY_MS)),
    nameOf(contents.subject),
    contents.publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(contents.extension)),
  );
  const signature = sign('sha256', body, contents.signer);
  const whole = sequence(body, ECDSA_WITH_SHA256, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function nameOf(text: string): Buffer {
  return sequence(tagged(0x31, sequence(COMMON_NAME, tagged(0x0c, Buffer.from(text)))));
}

function extension(id: Buffer, value: Buffer): Buffer {
  return sequence(id, tagged(0x04, value));
}

function time(atMs: number): Buffer {
  return tagged(0x18, Buffer.from(`${new Date(atMs).toISOString().replaceAll(/\D/g, '').slice(0, 14)}Z`));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

/** DER: tag, length, contents. */
function tagged(tag: number, contents: Buffer): Buffer {
  const { length } = contents;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), contents]);
}
