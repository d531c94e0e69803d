/**
 * Pieces of bytes kept until they are wanted: in memory up to a limit, behind it in a file. Guarantee: they come back in order and
 * unchanged, whoever else spools into the same directory (a second reader, or one that was stopped and wakes up); the file has no name
 * while it is used, so it is gone after `close`, and with the process at the latest.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface SpoolPiece {
  readonly bytes: Buffer;
  readonly rows: number;
}

interface FilePiece {
  readonly at: number;
  readonly length: number;
  readonly rows: number;
}

/** Removes what a process left that crashed before its file had lost its name. */
export function clearSpool(directory: string): void {
  let names: readonly string[] = [];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
  for (const name of names) if (name.endsWith(SPOOL_SUFFIX)) rmSync(join(directory, name), { force: true });
}

const SPOOL_SUFFIX = '.spool';

export class RowSpool {
  readonly #path: string;
  readonly #memoryLimitBytes: number;
  readonly #memory: SpoolPiece[] = [];
  readonly #file: FilePiece[] = [];
  #fd: number | undefined;
  #end = 0;
  #memoryBytes = 0;
  #rows = 0;

  /** `path`: its directory, and how its name begins. */
  constructor(path: string, memoryLimitBytes: number) {
    this.#path = path;
    this.#memoryLimitBytes = memoryLimitBytes;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  get bytes(): number {
    return this.#memoryBytes + this.#end;
  }

  get rows(): number {
    return this.#rows;
  }

  get pieces(): number {
    return this.#memory.length + this.#file.length;
  }

  add(bytes: Buffer, rows: number): void {
    this.#rows += rows;
    if (this.#fd === undefined && this.#memoryBytes + bytes.length <= this.#memoryLimitBytes) {
      this.#memory.push({ bytes, rows });
      this.#memoryBytes += bytes.length;
      return;
    }
    this.#fd ??= this.#openFile();
    for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#end + done);
    this.#file.push({ at: this.#end, length: bytes.length, rows });
    this.#end += bytes.length;
  }

  /** One piece after the other, those of the file read when they are asked for. */
  *[Symbol.iterator](): Generator<SpoolPiece> {
    yield* this.#memory;
    for (const piece of this.#file) {
      const bytes = Buffer.allocUnsafeSlow(piece.length);
      for (let done = 0; done < piece.length;) {
        const n = readSync(this.#fd!, bytes, done, piece.length - done, piece.at + done);
        if (n === 0) throw new Error(`the spool file ${this.#path} is shorter than what was written to it`);
        done += n;
      }
      yield { bytes, rows: piece.rows };
    }
  }

  #openFile(): number {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    const path = `${this.#path}-${randomUUID()}${SPOOL_SUFFIX}`;
    const fd = openSync(path, 'wx+', 0o600);
    rmSync(path, { force: true });
    return fd;
  }

  close(): void {
    this.#memory.length = 0;
    this.#memoryBytes = 0;
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }
}
