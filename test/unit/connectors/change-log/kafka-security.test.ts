/** The ways into a broker: TLS with our own authority and client certificates, SASL plain, SCRAM and OAuth, and how refusals are told. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIPv4, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import type { KafkaSasl, KafkaSettings } from '#schemas/config/migration-file.ts';
import { makeCertificates } from '#test/support/certificate.ts';
import { kafkaHost, startKafka, type Kafka, type KafkaListener } from '#test/support/kafka/kafka.ts';
import { kafkaProvider } from '#test/support/kafka/provider.ts';
import { clusterOn } from '#test/support/log-on-kafka.ts';

const here = await kafkaHost();
const names = { hosts: ['localhost'], addresses: isIPv4(here) ? ['127.0.0.1', here] : ['127.0.0.1'] };
const certificates = makeCertificates(names);
const strangers = makeCertificates(names);

const keystore = {
  'ssl.keystore.type': 'PEM',
  'ssl.keystore.key': certificates.key,
  'ssl.keystore.certificate.chain': certificates.cert,
};
const security = 'org.apache.kafka.common.security';
const sasl = {
  'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
  'plain.sasl.jaas.config': `${security}.plain.PlainLoginModule required user_alice="alice-secret" user_dave="dave-secret";`,
  'scram-sha-256.sasl.jaas.config': `${security}.scram.ScramLoginModule required;`,
  'scram-sha-512.sasl.jaas.config': `${security}.scram.ScramLoginModule required;`,
  'oauthbearer.sasl.jaas.config': `${security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
  'oauthbearer.sasl.server.callback.handler.class': `${security}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
};
const listeners: Record<string, KafkaListener> = {
  TLS: { protocol: 'SSL', properties: keystore },
  MUTUAL: {
    protocol: 'SSL',
    properties: {
      ...keystore,
      'ssl.client.auth': 'required',
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.certificates': certificates.ca,
    },
  },
  SASL: { protocol: 'SASL_PLAINTEXT', properties: sasl },
  BOTH: { protocol: 'SASL_SSL', properties: { ...keystore, ...sasl } },
};

describe.runIf((await kafkaProvider()) !== undefined)('kafka security', () => {
  let kafka: Kafka;
  let directory: string;
  const pem = (name: string): string => join(directory, `${name}.pem`);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'crossfade-pem-'));
    const texts = { ca: certificates.ca, cert: certificates.cert, key: certificates.key, stranger: strangers.ca };
    for (const [name, text] of Object.entries(texts)) await writeFile(pem(name), text);
    const users = ['ANONYMOUS', 'alice', 'bob', 'carol', ...['localhost', 'Crossfade test CA'].map((name) => `CN=${name}`)];
    const properties = {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': users.map((name) => `User:${name}`).join(';'),
    };
    kafka = await startKafka({ listeners, properties, scramUsers: { bob: 'bob-secret' } });
  });
  afterAll(async () => {
    await kafka[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  /** Opens, writes and reads one record. */
  async function through(listener: string, settings: Partial<KafkaSettings>): Promise<string> {
    const cluster = await clusterOn([kafka.listener(listener)], settings);
    try {
      await cluster.ensureTopics(new Map([['t', { partitions: 1 }]]));
      const builder = new RecordsBuilder();
      builder.add(undefined, Buffer.from(listener));
      const [produced] = await cluster.produce([{ topic: 't', partition: 0, records: builder.take() }]);
      const fetcher = await cluster.fetcher();
      fetcher.seek({ topic: 't', partition: 0 }, produced!.baseOffset);
      const [got] = (await fetcher.next(new AbortController().signal))!;
      return String(recordsIn(got!)[0]!.value);
    } finally {
      await cluster.close();
    }
  }

  test('TLS with an authority from a file', async () => {
    expect(await through('TLS', { ssl: { ca: pem('ca') } })).toBe('TLS');
  });

  test('TLS with a client certificate, and its lack is refused', async () => {
    expect(await through('MUTUAL', { ssl: { ca: pem('ca'), cert: pem('cert'), key: pem('key') } })).toBe('MUTUAL');
    await expect(through('MUTUAL', { ssl: { ca: pem('ca') } })).rejects.toMatchObject({ code: 'CF-3006' });
  });

  test('a certificate of a strange authority, and a file that is not there, are named', async () => {
    await expect(through('TLS', { ssl: { ca: pem('stranger') } })).rejects.toMatchObject({ code: 'CF-3006' });
    await expect(through('TLS', { ssl: true })).rejects.toMatchObject({ code: 'CF-3006' });
    await expect(through('TLS', { ssl: { ca: pem('none') } })).rejects.toMatchObject({
      code: 'CF-3006',
      message: expect.stringContaining('log.kafka.ssl.ca'),
    });
  });

  const users: readonly KafkaSasl[] = [
    { mechanism: 'plain', username: 'alice', password: 'alice-secret' },
    { mechanism: 'scram-sha-256', username: 'bob', password: 'bob-secret' },
    { mechanism: 'scram-sha-512', username: 'bob', password: 'bob-secret' },
  ];

  test.each(users)('SASL $mechanism, without and with TLS, and a wrong password is refused', async (user) => {
    expect(await through('SASL', { sasl: user })).toBe('SASL');
    expect(await through('BOTH', { sasl: user, ssl: { ca: pem('ca') } })).toBe('BOTH');
    await expect(through('SASL', { sasl: { ...user, password: 'wrong' } })).rejects.toMatchObject({ code: 'CF-3006' });
  });

  test('a user without rights is told so', async () => {
    const dave = { sasl: { mechanism: 'plain', username: 'dave', password: 'dave-secret' } } as const;
    await expect(through('SASL', dave)).rejects.toMatchObject({ code: 'CF-3006', message: expect.stringContaining('creating topics t') });
    const cluster = await clusterOn([kafka.listener('SASL')], dave);
    const builder = new RecordsBuilder();
    builder.add(undefined, Buffer.from('dave'));
    const produced = cluster.produce([{ topic: 't', partition: 0, records: builder.take() }]);
    await expect(produced).rejects.toMatchObject({ code: 'CF-3006' });
    const fetcher = await cluster.fetcher();
    fetcher.seek({ topic: 't', partition: 0 }, 0);
    await expect(fetcher.next(new AbortController().signal)).rejects.toMatchObject({ code: 'CF-3006' });
    await expect(cluster.bounds('t')).rejects.toMatchObject({ code: 'CF-3006' });
    await cluster.close();
  });

  test('SASL oauthbearer asks once for a token with the client credentials, and tells why it got none', async () => {
    const asked: string[] = [];
    const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      let body = '';
      for await (const chunk of request as AsyncIterable<Buffer>) body += String(chunk);
      asked.push(`${request.headers.authorization} ${body}`);
      const seconds = Math.floor(Date.now() / 1000);
      const token = `${base64({ alg: 'none' })}.${base64({ sub: 'carol', iat: seconds, exp: seconds + 600 })}.`;
      if (body.includes('scope=kafka')) response.end(JSON.stringify({ access_token: token, expires_in: 600 }));
      else response.writeHead(401).end();
    };
    const server = createServer((request, response) => void answer(request, response)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    try {
      const tokenUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
      const client = { mechanism: 'oauthbearer', tokenUrl, clientId: 'crossfade', clientSecret: 's:cret' } as const;
      expect(await through('SASL', { sasl: { ...client, scope: 'kafka' } })).toBe('SASL');
      const credentials = Buffer.from('crossfade:s%3Acret').toString('base64');
      expect(asked).toEqual([`Basic ${credentials} grant_type=client_credentials&scope=kafka`]);
      await expect(through('SASL', { sasl: client })).rejects.toMatchObject({ code: 'CF-3006', message: expect.stringContaining('401') });
    } finally {
      server.close();
    }
  });
});
