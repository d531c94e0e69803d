/**
 * Data directories. Guarantee: `newDataDirectory` gives a fresh cluster of the given version, by copying one that initdb made once
 * per version and locale (initdb takes seconds, a copy a fraction of one). Superuser `postgres`, password `postgres`.
 */
import { execFile } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { invariant, messageOf } from '#schemas/errors.ts';
import type { Binaries } from './binaries.ts';
import { cacheDirectory, type User } from './run-as.ts';

const run = promisify(execFile);

export interface ClusterOptions {
  /** `C` when absent: the only locale that every machine has. */
  readonly locale?: string;
  /** `UTF8` when absent. */
  readonly encoding?: string;
}

/** Fills `dataDir`, which must not exist yet but whose parent the server's user may write. */
export async function newDataDirectory(
  dataDir: string,
  binaries: Binaries,
  user: User | undefined,
  options: ClusterOptions = {},
): Promise<void> {
  const template = await findTemplate(binaries, user, options);
  // As the server's user, who then owns every file. `--reflink` shares blocks where the file system can, but not every cp knows it.
  const copy = async (flags: readonly string[]): Promise<unknown> => run('cp', [...flags, template, dataDir], { ...user, cwd: '/' });
  await copy(['-R', '--reflink=auto']).catch(async () => {
    rmSync(dataDir, { recursive: true, force: true });
    await copy(['-R']);
  });
}

async function findTemplate(binaries: Binaries, user: User | undefined, options: ClusterOptions): Promise<string> {
  const locale = options.locale ?? 'C';
  const encoding = options.encoding ?? 'UTF8';
  const cache = cacheDirectory(user);
  const final = join(cache, `cluster-${binaries.release}-${locale}-${encoding}-${user?.uid ?? 'own'}`);
  const data = join(final, 'data');
  if (existsSync(data)) return data;
  const draft = mkdtempSync(join(cache, 'draft-'));
  try {
    await initdb(draft, { binaries, user, locale, encoding });
    renameSync(draft, final);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    invariant(existsSync(data), `initdb failed: ${messageOf(error)}`); // else another process was first, its cluster is as good
  }
  return data;
}

interface Initdb {
  readonly binaries: Binaries;
  readonly user: User | undefined;
  readonly locale: string;
  readonly encoding: string;
}

async function initdb(draft: string, { binaries, user, locale, encoding }: Initdb): Promise<void> {
  const data = join(draft, 'data');
  const password = join(draft, 'password');
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(password, 'postgres\n');
  if (user !== undefined) for (const path of [draft, data, password]) chownSync(path, user.uid, user.gid);
  const flags = [
    '--no-sync',
    '--auth=scram-sha-256',
    '--username=postgres',
    `--pwfile=${password}`,
    `--locale=${locale}`,
    `--encoding=${encoding}`,
  ];
  // TZ decides the time zone that initdb writes into the configuration: the same on every machine.
  await run(binaries.initdb, [`--pgdata=${data}`, ...flags], {
    ...user,
    cwd: '/',
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
  });
  rmSync(password);
}
