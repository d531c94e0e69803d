/**
 * What the embedded log needs of a disk: small enough for a test to put its own in place (test/support/memory-disk.ts loses power,
 * tears writes, fills up). Guarantee of the real one: what it reports as written, synced or locked, the operating system confirmed.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { lockDirectory } from './lock.ts';

export interface LogFile {
  /** Writes all buffers from `position` on. May reject after some of the bytes were written. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  /** Fills `buffer`; the number of bytes read is smaller only at the end of the file. */
  read(buffer: Buffer, position: number): Promise<number>;
  /** Data and length are durable once it resolved. After a rejection nothing is known about what was written since the last one. */
  datasync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface LogFileSystem {
  /** `create` makes an empty file, whatever was there before. */
  open(file: string, mode: 'create' | 'write' | 'read'): Promise<LogFile>;
  /** Names in it; undefined when there is no such directory. */
  list(directory: string): Promise<readonly string[] | undefined>;
  makeDirectory(directory: string): Promise<void>;
  /** Entries made, renamed and removed before are durable once it resolved. */
  syncDirectory(directory: string): Promise<void>;
  /** Replaces `to` in one step. */
  rename(from: string, to: string): Promise<void>;
  remove(file: string): Promise<void>;
  /** @throws PipelineError CF-3004 while another process holds it. */
  lock(directory: string): Promise<() => Promise<void>>;
}

const FLAGS = { create: 'w+', write: 'r+', read: 'r' } as const;

class NodeFile implements LogFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  async write(buffers: readonly Buffer[], position: number): Promise<void> {
    let rest = buffers;
    let at = position;
    while (rest.length > 0) {
      const written = await this.#writeOnce(rest, at);
      if (written === 0 && rest.some((buffer) => buffer.length > 0)) throw new Error('the file system wrote nothing and reported no error');
      at += written;
      rest = after(rest, written);
    }
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    let filled = 0;
    while (filled < buffer.length) {
      const count = await this.#readOnce(buffer, filled, position + filled);
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  datasync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#descriptor, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  truncate(length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#descriptor, length, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#descriptor, (error, stat) => (error === null ? resolve(stat.size) : reject(error)));
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.close(this.#descriptor, (error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
  }

  #writeOnce(buffers: readonly Buffer[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.writev(this.#descriptor, buffers, position, (error, written) => (error === null ? resolve(written) : reject(error)));
    });
  }

  #readOnce(buffer: Buffer, from: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, buffer, from, buffer.length - from, position, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
  }
}

/** What is left of the buffers after the first `written` bytes. */
function after(buffers: readonly Buffer[], written: number): readonly Buffer[] {
  let skip = written;
  let index = 0;
  while (index < buffers.length && skip >= buffers[index]!.length) {
    skip -= buffers[index]!.length;
    index += 1;
  }
  if (index === buffers.length) return [];
  return [buffers[index]!.subarray(skip), ...buffers.slice(index + 1)];
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'ENOENT';
}

export const nodeFileSystem: LogFileSystem = {
  open(file, mode) {
    return new Promise((resolve, reject) => {
      fs.open(file, FLAGS[mode], 0o600, (error, descriptor) => (error === null ? resolve(new NodeFile(descriptor)) : reject(error)));
    });
  },
  async list(directory) {
    try {
      return await fs.promises.readdir(directory);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  },
  async makeDirectory(directory) {
    await fs.promises.mkdir(directory, { recursive: true, mode: 0o700 });
  },
  async syncDirectory(directory) {
    // Windows keeps directory entries durable by itself and refuses to open a directory.
    if (process.platform === 'win32') return;
    const handle = await fs.promises.open(directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  rename: (from, to) => fs.promises.rename(from, to),
  remove: (file) => fs.promises.rm(file, { force: true }),
  lock: lockDirectory,
};

/** Guarantee: after a crash `file` holds either its old content or `content`, whole; the new one for certain once resolved. */
export async function replaceFile(disk: LogFileSystem, file: string, content: Buffer): Promise<void> {
  const beside = `${file}.new`;
  const written = await disk.open(beside, 'create');
  try {
    await written.write([content], 0);
    await written.datasync();
  } finally {
    await written.close();
  }
  await disk.rename(beside, file);
  await disk.syncDirectory(path.dirname(file));
}

export async function readWhole(disk: LogFileSystem, file: string): Promise<Buffer> {
  const opened = await disk.open(file, 'read');
  try {
    const content = Buffer.alloc(await opened.size());
    const count = await opened.read(content, 0);
    return content.subarray(0, count);
  } finally {
    await opened.close();
  }
}

/** Makes a directory and whatever is missing above it; all of it is durable once resolved, also when a dead process had made it. */
export async function makeDurableDirectory(disk: LogFileSystem, directory: string): Promise<void> {
  const made: string[] = [directory];
  for (let at = path.dirname(directory); (await disk.list(at)) === undefined; at = path.dirname(at)) made.push(at);
  await disk.makeDirectory(directory);
  for (const each of made) await disk.syncDirectory(path.dirname(each));
}
