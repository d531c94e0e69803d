/**
 * A real schema registry for tests: Apicurio, which speaks Confluent's API. Guarantee: once `startRegistry` resolves it answers there;
 * it keeps everything in memory and ends as a broker of kafka.ts does.
 */
import { join } from 'node:path';
import { archiveOf } from './jars.ts';
import { JavaProcess } from './java-process.ts';
import { freePort } from './ports.ts';
import { containersFailure, kafkaProvider, REGISTRY_IMAGE } from './provider.ts';

const ARTIFACT = 'io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all';
const RUNNER = 'apicurio-registry-app-3.0.9-runner.jar';
const CONFLUENT_API = '/apis/ccompat/v7';
const IMAGE_PORT = 8080;
const START_TIMEOUT_MS = 90_000;
const HEAP_MB = 256;

export interface Registry extends AsyncDisposable {
  /** Of the API that Confluent's clients know. */
  readonly url: string;
}

/** What a registry is made of, fetched when it is not there yet. */
export async function fetchRegistry(): Promise<void> {
  if (!(await inDocker())) await archiveOf(ARTIFACT);
}

async function inDocker(): Promise<boolean> {
  return (await kafkaProvider()) === 'docker' && (await containersFailure(REGISTRY_IMAGE)) === undefined;
}

export async function startRegistry(): Promise<Registry> {
  return (await inDocker()) ? startDockerRegistry() : startJavaRegistry();
}

async function startJavaRegistry(): Promise<Registry> {
  const folder = await archiveOf(ARTIFACT);
  const server = new JavaProcess('registry');
  try {
    const port = await freePort();
    const env = { QUARKUS_HTTP_PORT: String(port), QUARKUS_HTTP_HOST: '127.0.0.1' };
    await server.spawn({ heapMb: HEAP_MB, args: ['-jar', join(folder, RUNNER)], env });
    const url = `http://127.0.0.1:${port}${CONFLUENT_API}`;
    await server.until(async () => answers(`${url}/subjects`), START_TIMEOUT_MS);
    return { url, [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose]() };
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

async function startDockerRegistry(): Promise<Registry> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const { containerHost, ServerContainer } = await import('./container.ts');
  const port = await freePort();
  const container = await ServerContainer.start(
    new GenericContainer(REGISTRY_IMAGE)
      .withExposedPorts({ container: IMAGE_PORT, host: port })
      .withWaitStrategy(Wait.forHttp(`${CONFLUENT_API}/subjects`, IMAGE_PORT))
      .withStartupTimeout(START_TIMEOUT_MS),
  );
  const url = `http://${await containerHost()}:${port}${CONFLUENT_API}`;
  return { url, [Symbol.asyncDispose]: async () => container[Symbol.asyncDispose]() };
}

export async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
