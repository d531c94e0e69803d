/**
 * Where a test's Kafka comes from. Guarantee: what is named here can be started now: the engine answered and the image is there, or Java
 * and Maven are. CROSSFADE_KAFKA=docker|java|none decides without looking.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ContainerRuntimeClient } from 'testcontainers';
import { hasJavaAndMaven, jarsOf } from './jars.ts';

export type KafkaProvider = 'docker' | 'java';

export const KAFKA_IMAGE = 'apache/kafka:4.1.0';
export const REGISTRY_IMAGE = 'apicurio/apicurio-registry:3.0.9';

let provider: Promise<KafkaProvider | undefined> | undefined;

/** Undefined: no Kafka on this machine, tests that need it are skipped. The image is pulled, or the jars are fetched, by the first call. */
export async function kafkaProvider(): Promise<KafkaProvider | undefined> {
  return (provider ??= findProvider());
}

async function findProvider(): Promise<KafkaProvider | undefined> {
  const chosen = process.env['CROSSFADE_KAFKA'];
  if (chosen !== undefined && !['docker', 'java', 'none'].includes(chosen))
    throw new Error(`CROSSFADE_KAFKA=${chosen}: expected docker, java or none`);
  if (chosen === 'none') return undefined;
  if (chosen === 'docker' || (chosen === undefined && engineMayAnswer())) {
    const failure = await containersFailure(KAFKA_IMAGE);
    if (failure === undefined) return 'docker';
    if (chosen === 'docker') throw new Error(`CROSSFADE_KAFKA=docker, but ${failure}`);
  }
  if (chosen === undefined && !hasJavaAndMaven()) return undefined;
  await jarsOf('broker');
  return 'java';
}

/** Loading testcontainers takes most of a second: not for a machine without any sign of an engine. */
export function engineMayAnswer(): boolean {
  const { DOCKER_HOST, XDG_RUNTIME_DIR } = process.env;
  const signs = ['/var/run/docker.sock', join(homedir(), '.docker/run/docker.sock'), join(homedir(), '.testcontainers.properties')];
  if (XDG_RUNTIME_DIR !== undefined) signs.push(join(XDG_RUNTIME_DIR, 'docker.sock'));
  return DOCKER_HOST !== undefined || signs.some((path) => existsSync(path));
}

/** Why no container of this image can be started; undefined when one can. */
export async function containersFailure(image: string): Promise<string | undefined> {
  try {
    const { getContainerRuntimeClient, ImageName } = await import('testcontainers');
    const client = await getContainerRuntimeClient();
    const name = ImageName.fromString(image);
    if (!(await client.image.exists(name))) await client.image.pull(name);
    await chooseReaper(client);
    return undefined;
  } catch (error) {
    return `${image} cannot be had: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The reaper removes containers that outlive their test; where its image cannot be had, our own watchdog does (container-watchdog.ts). */
async function chooseReaper(client: ContainerRuntimeClient): Promise<void> {
  if (process.env['TESTCONTAINERS_RYUK_DISABLED'] !== undefined) return;
  const { getReaper } = await import('testcontainers');
  try {
    await getReaper(client);
  } catch {
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  }
}
