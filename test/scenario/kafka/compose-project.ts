/**
 * docker-compose.yml as a project of its own. Guarantee: its containers, volumes and networks are gone with `await using`, and its ports
 * are free ones, so another project of the same file on this machine is left alone.
 */
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '#test/support/kafka/ports.ts';

export const ROOT: string = dirname(dirname(dirname(import.meta.dirname)));
/** An image of ours is built, not looked for. */
const OURS = 'crossfade:';
const BASE_IMAGE = 'node:26-slim';
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
const STARTS_WITHIN_SECONDS = 240;

const execute = promisify(execFile);

async function docker(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const { stdout } = await execute('docker', args, { cwd: ROOT, env, maxBuffer: OUTPUT_BYTES_MAX });
  return stdout;
}

/** @throws when the file is not valid with these profiles. */
export async function checkConfiguration(profiles: readonly string[]): Promise<void> {
  await docker(['compose', ...profiles.flatMap((name) => ['--profile', name]), 'config', '--quiet']);
}

/** The engine answers, and every image that the file names is there or built from one that is. */
export async function canStart(): Promise<boolean> {
  try {
    const named = (await docker(['compose', 'config', '--images'])).split('\n').filter((name) => name !== '' && !name.startsWith(OURS));
    await docker(['image', 'inspect', '--format', '{{.Id}}', BASE_IMAGE, ...named]);
    return true;
  } catch {
    return false;
  }
}

export interface ComposeProject extends AsyncDisposable {
  /** What a command on the host needs to read deploy/compose/migration.yaml. */
  readonly environment: Readonly<Record<string, string>>;
  /** The databases, by their owner. */
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly controlUrl: string;
  /** `docker compose ARGS` of this project. */
  run(...args: readonly string[]): Promise<string>;
}

/** Builds the image and starts every service of no profile. Resolves when all of them are healthy. */
export async function startProject(): Promise<ComposeProject> {
  const [source, target, control] = [await freePort(), await freePort(), await freePort()];
  const env = {
    ...process.env,
    COMPOSE_PROJECT_NAME: `crossfade-test-${process.pid}`,
    CROSSFADE_TAG: 'test',
    DATABASE_PASSWORD: 'test',
    CROSSFADE_TOKEN: 'test',
    SOURCE_PORT: String(source),
    TARGET_PORT: String(target),
    CONTROL_PORT: String(control),
  };
  const run = async (...args: readonly string[]): Promise<string> => docker(['compose', ...args], env);
  const down = async (): Promise<void> => {
    await run('--profile', 'load', 'down', '--volumes', '--remove-orphans', '--timeout', '5');
  };
  try {
    await run('up', '--detach', '--wait', '--wait-timeout', String(STARTS_WITHIN_SECONDS));
  } catch (error) {
    const logs = await run('logs', '--no-color', '--tail', '30').catch(String);
    await down();
    throw new Error(`docker compose up did not become healthy\n${logs}`, { cause: error });
  }
  return {
    environment: {
      SOURCE_URL: `postgres://crossfade_source:test@127.0.0.1:${source}/legacy`,
      TARGET_URL: `postgres://crossfade_target:test@127.0.0.1:${target}/shop`,
      CROSSFADE_TOKEN: 'test',
    },
    sourceUrl: `postgres://shop:test@127.0.0.1:${source}/legacy`,
    targetUrl: `postgres://shop:test@127.0.0.1:${target}/shop`,
    controlUrl: `http://127.0.0.1:${control}`,
    run,
    [Symbol.asyncDispose]: down,
  };
}

export const MIGRATION: string = join(ROOT, 'deploy', 'compose', 'migration.yaml');
