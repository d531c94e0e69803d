/**
 * What the Java servers are made of, from Maven. Guarantee: a folder returned is complete, and is filled once for this checkout, however
 * many test processes ask at the same time. Which repository it comes from is Maven's own configuration.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const JAVA_MIN = 17;
const POLL_MS = 100;
const MAVEN_TIMEOUT_MS = 600_000;
const checkout = join(import.meta.dirname, '..', '..', '..');
const cache = join(checkout, '.cache', 'kafka');

/** The same Java that Maven takes. */
export function javaCommand(): string {
  const home = process.env['JAVA_HOME'];
  return home === undefined || home === '' ? 'java' : join(home, 'bin', 'java');
}

/** Java 17 or later and Maven: with both, everything here can be had. */
export function hasJavaAndMaven(): boolean {
  const { status, stderr } = spawnSync(javaCommand(), ['-version'], { encoding: 'utf8' });
  const version = Number(/version "(\d+)/.exec(stderr ?? '')?.[1] ?? 0);
  const path = (process.env['PATH'] ?? '').split(delimiter);
  return status === 0 && version >= JAVA_MIN && path.some((folder) => existsSync(join(folder, 'mvn')));
}

/** The run-time jars of `pom/NAME.xml`, flat in one folder, which is alone in its own: Connect's plugin path wants it so. */
export async function jarsOf(name: string): Promise<string> {
  const pom = join(import.meta.dirname, 'pom', `${name}.xml`);
  const version = createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 12);
  const folder = await filled(`${name}-${version}`, async (draft) =>
    maven(['-f', pom, 'dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${join(draft, 'jars')}`]),
  );
  return join(folder, 'jars');
}

/** A released archive, unpacked: `io.debezium:debezium-connector-postgres:3.7.0.Final:tar.gz:plugin`. */
export async function archiveOf(artifact: string): Promise<string> {
  return archiveFolder(artifact, async (folder, file) => run('tar', ['xzf', file, '-C', folder]));
}

/** An artifact, unpacked by `unpack` into a folder of its own; the file itself goes. */
export async function archiveFolder(artifact: string, unpack: (folder: string, file: string) => Promise<unknown>): Promise<string> {
  return filled(artifact.replaceAll(':', '_'), async (folder) => {
    await maven(['dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`, '-Dmdep.stripVersion=true']);
    const [, name, , type = 'jar', classifier] = artifact.split(':');
    const file = join(folder, `${name}${classifier === undefined ? '' : `-${classifier}`}.${type}`);
    await unpack(folder, file);
    rmSync(file, { force: true });
  });
}

/** A folder of the cache; `fill` gets an empty draft of it. */
export async function filled(name: string, fill: (folder: string) => Promise<unknown>): Promise<string> {
  const final = join(cache, name);
  if (existsSync(final)) return final;
  mkdirSync(cache, { recursive: true });
  using lock = new DisposableStack();
  lock.use(await lockCache());
  if (existsSync(final)) return final; // another process was first
  for (const left of readdirSync(cache)) if (left.startsWith('draft-')) rmSync(join(cache, left), { recursive: true }); // of a killed process
  const draft = mkdtempSync(join(cache, 'draft-'));
  try {
    await fill(draft);
    renameSync(draft, final);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return final;
}

/** The kernel's own file lock, by way of SQLite: it goes with its holder, however that ends, so there is no stale one to judge. */
async function lockCache(): Promise<Disposable> {
  for (;;) {
    const database = new DatabaseSync(join(cache, 'lock'), { timeout: 0 });
    try {
      database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      return { [Symbol.dispose]: () => database.close() };
    } catch {
      database.close();
      await delay(POLL_MS);
    }
  }
}

async function maven(args: readonly string[]): Promise<void> {
  try {
    // Not in the checkout: a .mvn folder there is no business of ours.
    await run('mvn', ['-q', '-B', ...args], { cwd: cache, timeout: MAVEN_TIMEOUT_MS, maxBuffer: 1 << 26 });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`mvn ${args.join(' ')} failed:\n${(stdout ?? '') + (stderr ?? '')}`.slice(0, 3000), { cause: error });
  }
}
