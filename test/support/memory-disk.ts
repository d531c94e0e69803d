/**
 * A disk in memory that behaves as badly as a real one may. Guarantee: what was synced survives every crash; what was not survives a
 * killed process, and after a power loss any subset of its sectors, lengths and directory entries does. A failed sync leaves the pages
 * it should have written clean, readable and lost (fsyncgate).
 */
import * as path from 'node:path';
import type { LogFile, LogFileSystem } from '#connectors/change-log/embedded/file-system.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { Random } from '#test/support/random.ts';

const SECTOR_BYTES = 512;

export type Operation = 'open' | 'write' | 'read' | 'datasync' | 'truncate' | 'rename' | 'remove' | 'syncDirectory' | 'list';

export interface Call {
  readonly operation: Operation;
  readonly file: string;
}

/** `reject` fails before anything happened, `afterBytes` of a write happen first; `stop` and everything after it never answers. */
export type Fault = { readonly kind: 'reject'; readonly code: string; readonly afterBytes?: number } | { readonly kind: 'stop' };

class Inode {
  live: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  readonly dirty = new Set<number>();
  lengthDirty = false;

  write(bytes: Buffer, position: number): void {
    if (bytes.length === 0) return;
    const end = position + bytes.length;
    if (end > this.live.length) this.resize(end);
    bytes.copy(this.live, position);
    for (let sector = Math.floor(position / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector += 1) this.dirty.add(sector);
  }

  resize(length: number): void {
    if (length === this.live.length) return;
    const next = Buffer.alloc(length);
    this.live.copy(next);
    const shorter = Math.min(length, this.live.length);
    this.live = next;
    this.lengthDirty = true;
    if (length > 0) this.dirty.add(Math.floor(shorter / SECTOR_BYTES));
  }

  /** Writes back the dirty sectors that `keep` says, then counts them all as clean. */
  writeBack(keep: () => boolean): void {
    this.flush(keep);
    this.dirty.clear();
    if (this.durable.length === this.live.length) this.lengthDirty = false;
  }

  /** Writes back the dirty sectors that `keep` says. */
  flush(keep: () => boolean): void {
    const length = this.lengthDirty && !keep() ? this.durable.length : this.live.length;
    const next = Buffer.alloc(length);
    this.durable.copy(next);
    for (const sector of this.dirty) {
      const from = sector * SECTOR_BYTES;
      // Behind a truncation that is not written back itself there is nothing to write.
      if (from < Math.min(length, this.live.length) && keep()) this.live.copy(next, from, from, Math.min(from + SECTOR_BYTES, length));
    }
    this.durable = next;
  }
}

export class MemoryDisk {
  /** A sync that fails leaves rubbish in the sectors it should have written, as a failing medium does. */
  spoilsOnFailedSync = false;
  /** The kernel begins to write back at once, instead of now and then. */
  writesBackAtOnce = false;
  /** Asked before each call. */
  fault: ((call: Call) => Fault | undefined) | undefined;
  readonly #random: Random;
  #entries = new Map<string, Inode>();
  #durableEntries = new Map<string, Inode>();
  #directories = new Set<string>(['/']);
  #generation = 0;
  #stop = Promise.withResolvers<void>();
  #stopped = false;
  #locked = new Set<string>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Resolves when a fault has stopped the disk. */
  get stopped(): Promise<void> {
    return this.#stop.promise;
  }

  /** The process died: its handles and locks are gone, the page cache is not. */
  kill(): void {
    this.#generation += 1;
    this.#locked = new Set();
    this.#stop = Promise.withResolvers<void>();
    this.#stopped = false;
  }

  losePower(): void {
    this.kill();
    const keep = (): boolean => this.#random.chance(0.5);
    const names = new Set([...this.#entries.keys(), ...this.#durableEntries.keys()]);
    const entries = new Map<string, Inode>();
    for (const name of names) {
      const [live, durable] = [this.#entries.get(name), this.#durableEntries.get(name)];
      const kept = live !== durable && keep() ? live : durable;
      if (kept !== undefined) entries.set(name, kept);
    }
    for (const inode of new Set(entries.values())) {
      inode.writeBack(keep);
      inode.live = Buffer.from(inode.durable);
      inode.lengthDirty = false;
    }
    this.#entries = entries;
    this.#durableEntries = new Map(entries);
  }

  files(): readonly string[] {
    return [...this.#entries.keys()].toSorted();
  }

  content(file: string): Buffer {
    return Buffer.from(this.#inode(file).live);
  }

  /** Changes a file behind the log's back, durably. */
  overwrite(file: string, content: Buffer): void {
    const inode = this.#entries.get(file) ?? new Inode();
    inode.live = Buffer.from(content);
    inode.durable = Buffer.from(content);
    this.#entries.set(file, inode);
    this.#durableEntries.set(file, inode);
  }

  erase(file: string): void {
    this.#entries.delete(file);
    this.#durableEntries.delete(file);
  }

  /** The file system as a process started now sees it; after the next crash its calls never answer. */
  mount(): LogFileSystem {
    const generation = this.#generation;
    const call = (operation: Operation, file: string): Promise<void> => this.#call({ operation, file }, { generation });
    return {
      open: async (file, mode) => {
        await call('open', file);
        // Truncating what is there would keep its inode; the log only creates under names that nothing stands under.
        if (mode === 'create') this.#entries.set(file, new Inode());
        return this.#handle(file, generation);
      },
      list: async (directory) => {
        await call('list', directory);
        if (!this.#directories.has(directory)) return undefined;
        const all = [...this.#entries.keys(), ...this.#directories];
        return all.filter((name) => name !== directory && path.dirname(name) === directory).map((name) => path.basename(name));
      },
      makeDirectory: async (directory) => {
        for (let at = directory; !this.#directories.has(at); at = path.dirname(at)) this.#directories.add(at);
      },
      syncDirectory: async (directory) => {
        await call('syncDirectory', directory);
        this.#syncEntries(directory);
      },
      rename: async (from, to) => {
        await call('rename', to);
        this.#entries.set(to, this.#inode(from));
        this.#entries.delete(from);
      },
      remove: async (file) => {
        await call('remove', file);
        this.#entries.delete(file);
      },
      lock: async (directory) => {
        if (this.#locked.has(directory)) throw new PipelineError('CF-3004', `${directory} is in use.`);
        this.#locked.add(directory);
        return async () => {
          if (generation === this.#generation) this.#locked.delete(directory);
        };
      },
    };
  }

  #syncEntries(directory: string): void {
    for (const name of new Set([...this.#entries.keys(), ...this.#durableEntries.keys()])) {
      if (path.dirname(name) !== directory) continue;
      const live = this.#entries.get(name);
      if (live === undefined) this.#durableEntries.delete(name);
      else this.#durableEntries.set(name, live);
    }
  }

  #inode(file: string): Inode {
    const inode = this.#entries.get(file);
    if (inode === undefined) throw failure('ENOENT', file);
    return inode;
  }

  #handle(file: string, generation: number): LogFile {
    const inode = this.#inode(file);
    const call = (operation: Operation, onFault?: (fault: Fault) => void): Promise<void> =>
      this.#call({ operation, file }, { generation, ...(onFault !== undefined && { onFault }) });
    return {
      write: async (buffers, position) => {
        const bytes = Buffer.concat(buffers);
        await call('write', (fault) => {
          const done = fault.kind === 'stop' ? this.#random.between(0, bytes.length) : (fault.afterBytes ?? 0);
          inode.write(bytes.subarray(0, done), position);
          this.#mayWriteBack(inode);
        });
        inode.write(bytes, position);
        this.#mayWriteBack(inode);
      },
      read: async (buffer, position) => {
        await call('read');
        return inode.live.copy(buffer, 0, Math.min(position, inode.live.length));
      },
      datasync: async () => {
        await call('datasync', (fault) => {
          if (fault.kind === 'reject') this.#failSync(inode);
        });
        inode.writeBack(() => true);
      },
      truncate: async (length) => {
        await call('truncate');
        inode.resize(length);
      },
      size: async () => inode.live.length,
      close: async () => undefined,
    };
  }

  #mayWriteBack(inode: Inode): void {
    if (this.writesBackAtOnce) inode.flush(() => true);
    else if (this.#random.chance(0.2)) inode.flush(() => this.#random.chance(0.5));
  }

  #failSync(inode: Inode): void {
    const dirty = [...inode.dirty];
    inode.writeBack(() => this.#random.chance(0.5));
    if (!this.spoilsOnFailedSync) return;
    for (const sector of dirty)
      inode.durable.fill(0xee, sector * SECTOR_BYTES, Math.min((sector + 1) * SECTOR_BYTES, inode.durable.length));
  }

  async #call(call: Call, of: { readonly generation: number; readonly onFault?: (fault: Fault) => void }): Promise<void> {
    // A turn of the event loop, as a real disk takes: others go on meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#stopped || of.generation !== this.#generation) return forever();
    const fault = this.fault?.(call);
    if (fault === undefined) return undefined;
    of.onFault?.(fault);
    if (fault.kind === 'reject') throw failure(fault.code, call.file);
    this.#stopped = true;
    this.#stop.resolve();
    return forever();
  }
}

function forever(): Promise<never> {
  return new Promise(() => undefined);
}

function failure(code: string, file: string): Error {
  return Object.assign(new Error(`${code}: injected at ${file}`), { code });
}
