/**
 * Guarantee: at most one process at a time holds a directory, and a dead one never does.
 *
 * The lock is the operating system's own file lock, which the kernel frees when its holder dies, however it dies: there is no stale
 * lock to judge, no race between two who judge it, and it holds across containers that share the volume, where a process id says
 * nothing. Node has no call for it; SQLite, built into Node, has: an exclusive transaction on an empty database locks the file and
 * writes nothing. `owner.json` beside it only names the holder in the message.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PipelineError } from '#schemas/errors.ts';

const SQLITE_BUSY = 5;

interface Owner {
  readonly pid: number;
  readonly since: string;
}

/** Takes the directory's lock; the function returned gives it back. @throws PipelineError CF-3004 naming the holder's process id. */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = path.join(directory, 'lock');
  const ownerFile = path.join(directory, 'owner.json');
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) {
      throw new PipelineError('CF-3001', `Cannot lock ${directory}: ${(error as Error).message}`, { cause: error, path: file });
    }
    const owner = await readOwner(ownerFile);
    const holder = owner === undefined ? 'another process' : `process ${owner.pid}, running since ${owner.since}`;
    throw new PipelineError('CF-3004', `${directory} is in use by ${holder}.`, { cause: error, path: file, details: { pid: owner?.pid } });
  }
  const owner: Owner = { pid: process.pid, since: new Date().toISOString() };
  // On a full disk the holder has no name for others; the lock holds all the same.
  await writeFile(ownerFile, `${JSON.stringify(owner)}\n`, { mode: 0o600 }).catch(() => undefined);
  return async () => {
    if (database.isOpen) database.close();
  };
}

async function readOwner(file: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Owner;
  } catch {
    // The holder is just starting, or the file was removed: the lock stands all the same, only its name is missing.
    return undefined;
  }
}
