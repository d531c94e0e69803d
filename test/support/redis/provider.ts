/**
 * Where a test's Redis comes from. Guarantee: what is named here can be started now. CROSSFADE_REDIS=docker|path|maven|none decides
 * without looking. The binary inside the Maven artifact is Redis 6.2, the oldest that we support.
 */
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { archiveFolder } from '#test/support/kafka/jars.ts';
import { containersFailure, engineMayAnswer } from '#test/support/kafka/provider.ts';

export type RedisProvider = { readonly kind: 'docker' } | { readonly kind: 'binary'; readonly path: string };

export const REDIS_IMAGE = 'redis:8';
const ARTIFACT = 'com.github.codemonstur:embedded-redis:1.4.3';
const BUILDS: Readonly<Record<string, RegExp>> = {
  'linux-x64': /^redis-server-[\d.v-]+-linux-amd64$/,
  'linux-arm64': /^redis-server-[\d.v-]+-linux-arm64$/,
  'darwin-x64': /^redis-server-[\d.v-]+-darwin-amd64$/,
  'darwin-arm64': /^redis-server-[\d.v-]+-darwin-arm64$/,
};

let provider: Promise<RedisProvider | undefined> | undefined;

/** Undefined: no Redis on this machine, tests that need it are skipped. */
export async function redisProvider(): Promise<RedisProvider | undefined> {
  return (provider ??= findProvider());
}

async function findProvider(): Promise<RedisProvider | undefined> {
  const chosen = process.env['CROSSFADE_REDIS'];
  if (chosen !== undefined && !['docker', 'path', 'maven', 'none'].includes(chosen))
    throw new Error(`CROSSFADE_REDIS=${chosen}: expected docker, path, maven or none`);
  if (chosen === 'docker' || (chosen === undefined && engineMayAnswer())) {
    const failure = await containersFailure(REDIS_IMAGE);
    if (failure === undefined) return { kind: 'docker' };
    if (chosen === 'docker') throw new Error(`CROSSFADE_REDIS=docker, but ${failure}`);
  }
  if (chosen === 'path' || chosen === undefined) {
    const path = onPath('redis-server');
    if (path !== undefined) return { kind: 'binary', path };
    if (chosen === 'path') throw new Error('CROSSFADE_REDIS=path, but there is no redis-server on the PATH');
  }
  if (chosen === 'maven' || (chosen === undefined && onPath('mvn') !== undefined && spawnSync('unzip', ['-v']).status === 0)) {
    const path = await fromMaven();
    if (path !== undefined) return { kind: 'binary', path };
  }
  return undefined;
}

function onPath(command: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
}

async function fromMaven(): Promise<string | undefined> {
  const build = BUILDS[`${process.platform}-${process.arch}`];
  if (build === undefined) return undefined;
  const folder = await archiveFolder(ARTIFACT, async (draft, jar) => {
    await promisify(execFile)('unzip', ['-q', '-o', jar, 'redis-server-*', '-d', draft]);
    const name = readdirSync(draft).find((entry) => build.test(entry));
    if (name === undefined) throw new Error(`${ARTIFACT} has no redis-server for ${process.platform} ${process.arch}`);
    renameSync(join(draft, name), join(draft, 'redis-server'));
    for (const other of readdirSync(draft)) if (other !== 'redis-server') rmSync(join(draft, other));
    chmodSync(join(draft, 'redis-server'), 0o755);
  });
  return join(folder, 'redis-server');
}
