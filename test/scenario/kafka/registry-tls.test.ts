/** A schema registry behind TLS and a password, as a migration file names it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { confluentRegistry } from '#connectors/registry/confluent-registry.ts';
import { probeRegistry } from '#connectors/registry/probe-registry.ts';
import { registryAgent } from '#connectors/registry/registry-agent.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { makeCertificates } from '#test/support/certificate.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { describeWithRegistry } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedRegistry } from '#test/support/kafka/shared-servers.ts';

const PASSWORD = 'pass/word%';
const file = (log: string): string =>
  `crossfade: 1\nname: tls\nsource: { postgres: "postgres://nobody@127.0.0.1:1/x" }\ntarget: { postgres: "postgres://nobody@127.0.0.1:1/x" }\n` +
  `tables:\n  - from: public.*\nlog: { kafka: { brokers: ["127.0.0.1:1"], ${log} } }\n`;

interface Stage {
  /** host:port/path of the registry, behind TLS. */
  readonly address: string;
  readonly directory: string;
  readonly settings: (log: string, env?: Readonly<Record<string, string>>) => KafkaSettings;
}

async function openStage(): Promise<Stage> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-registry-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const certificates = makeCertificates({ hosts: ['localhost'], addresses: ['127.0.0.1'] });
  await writeFile(join(directory, 'ca.pem'), certificates.ca);
  await writeFile(join(directory, 'stranger.pem'), makeCertificates({ hosts: ['localhost'] }).ca);
  const behind = new URL((await sharedRegistry()).url);
  const expected = `Basic ${Buffer.from(`reader:${PASSWORD}`).toString('base64')}`;
  const front = createServer({ cert: certificates.cert, key: certificates.key }, (incoming, response) => {
    if (incoming.headers.authorization !== expected) {
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"error_code":401,"message":"who are you"}');
      return;
    }
    const { host: _, authorization: __, ...headers } = incoming.headers;
    const target = { host: behind.hostname, port: behind.port, path: incoming.url, method: incoming.method, headers };
    incoming.pipe(request(target, (answer) => void answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers))));
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    front.closeAllConnections();
    front.close();
  });
  return {
    address: `127.0.0.1:${(front.address() as AddressInfo).port}${behind.pathname.replace(/\/$/, '')}`,
    directory,
    settings: (log, env = {}) => {
      const read = readMigrationFile({ path: 'tls.yaml', text: file(log), env });
      if (read.file?.settings.log.kafka === undefined) throw new Error(read.findings.map(({ message }) => message).join('; '));
      return read.file.settings.log.kafka;
    },
  };
}

describeWithRegistry('a schema registry behind TLS', () => {
  test('is used with an authority of its own and a user from the environment; its lack is told at once, without the password', async () => {
    const { address, directory, settings } = await openStage();
    const env = { REGISTRY_LOGIN: `reader:${encodeURIComponent(PASSWORD)}` };
    const url = 'registry: "https://${REGISTRY_LOGIN}@' + address + '"';
    const good = settings(`${url}, registrySsl: { ca: "${join(directory, 'ca.pem')}" }`, env);
    const agent = await registryAgent(good);
    await probeRegistry(good.registry!, agent);
    const text = JSON.stringify({ type: 'record', name: 'Tls', fields: [{ name: 'a', type: 'long' }] });
    const id = await confluentRegistry(good.registry!, { agent: agent! }).register('tls-value', text);
    expect(JSON.parse(await confluentRegistry(good.registry!, { agent: agent! }).schema(id))).toEqual(JSON.parse(text));

    const refused = async (kafka: KafkaSettings): Promise<string> => {
      const used = await registryAgent(kafka);
      const asked = [
        probeRegistry(kafka.registry!, used),
        confluentRegistry(kafka.registry!, { ...(used !== undefined && { agent: used }) }).register('tls-value', text),
      ];
      const errors = await Promise.allSettled(asked);
      const messages = errors.map((one) =>
        one.status === 'rejected' ? `${String(one.reason.code)} ${String(one.reason.message)}` : 'passed',
      );
      return messages.join('\n');
    };
    const strange = await refused(settings(`${url}, registrySsl: { ca: "${join(directory, 'stranger.pem')}" }`, env));
    const unsaid = await refused(settings(url, env));
    const nobody = await refused(settings(`registry: "https://${address}", registrySsl: { ca: "${join(directory, 'ca.pem')}" }`));
    for (const message of [strange, unsaid]) expect(message).toMatch(/^CF-3006 .*certificate.*\nCF-3006 .*certificate/i);
    expect(nobody).toMatch(/^CF-3006 .*401\nCF-3006 /);
    for (const message of [strange, unsaid, nobody]) expect(message).not.toMatch(/pass(?:\/|%2F)word/);
    await expect(registryAgent(settings(`${url}, registrySsl: { ca: "/nowhere.pem" }`, env))).rejects.toMatchObject({
      code: 'CF-3006',
      message: expect.stringContaining('log.kafka.registrySsl.ca'),
    });
  });

  test('no output of check shows its password', async () => {
    const { address, directory } = await openStage();
    const path = join(directory, 'migration.yaml');
    for (const registry of [`https://reader:hidden@${address}`, `ftp://reader:hidden@${address}`, `https://reader:hidden@[${address}`]) {
      await writeFile(path, file(`registry: "${registry}"`));
      for (const command of ['check', 'plan']) {
        const run = await runInProcess([command, '--json', '-f', path]);
        expect(`${run.stdout}${run.stderr}`, registry).not.toContain('hidden');
        expect(envelopeOf(run).ok).toBe(false);
      }
    }
  });
});
