/**
 * What is to be copied, what is in the log, what is finished. Guarantee: pure state; the same records give the same plan, and nothing
 * asked for is forgotten before its chunks are durable.
 */
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { ChunkPlannedRecord, CopyRecord, RecopyAskedRecord, RecopyDoneRecord, TableSeenRecord } from './control-record.ts';
import { CopyJob, type PartPlan, type RangeChunk } from './copy-job.ts';
import type { CopyTable } from './copy-table.ts';
import type { KeysChunk } from './key-queue.ts';
import { toRowKey } from './row-key.ts';

/** Begins the id of a re-copy that was named by who asked for it; such an id is never taken twice. */
export const GIVEN = 'given:';

export type CopyOrder = 'smallest-first' | 'parents-first';

export type ChunkWork = { readonly table: CopyTable } & ({ readonly chunk: RangeChunk } | { readonly chunk: KeysChunk });

/** What a worker does next: read a chunk, or ask the source where the next one of a part ends. */
export type NextStep =
  | { readonly kind: 'chunk'; readonly work: ChunkWork }
  | { readonly kind: 'plan'; readonly table: CopyTable; readonly job: CopyJob; readonly part: PartPlan };

export class CopyPlan {
  readonly #tables = new Map<string, CopyTable>();
  /** The same tables by names that they have had. */
  readonly #formerly = new Map<string, CopyTable>();
  readonly #order: CopyOrder;
  readonly #isFilled: boolean;
  #rank: ReadonlyMap<string, number> = new Map();
  /** Copy complete stands in the raw log (perhaps not yet durable). */
  isComplete = false;
  /** Its record is durable. */
  isCompleteRecorded = false;
  readonly #seen = new Map<string, TableSeenRecord>();
  readonly #held = new Set<string>();
  /** Ids of the re-copies that were asked for, done ones too; after the start only those that others gave. */
  readonly #asked = new Set<string>();
  /** While records are read: whose chunk it is. */
  readonly #restoring = new Map<string, { readonly table: CopyTable; readonly job: CopyJob }>();

  /** `isFilled`: nothing is to be copied that nobody asks for. */
  constructor(order: CopyOrder, isFilled = false) {
    this.#order = order;
    this.#isFilled = isFilled;
    this.isComplete = isFilled;
    this.isCompleteRecorded = isFilled;
  }

  tables(): readonly CopyTable[] {
    return [...this.#tables.values()];
  }

  table(id: string): CopyTable | undefined {
    return this.#tables.get(id);
  }

  /** Adds a table that is to be copied from its beginning, where its target is not filled. */
  add(table: CopyTable): void {
    this.#tables.set(table.id, table);
    for (const id of table.formerly) this.#formerly.set(id, table);
    if (!this.#isFilled) table.jobs.push(initialJob(table));
    this.#sort();
  }

  seen(table: CopyTable): TableSeenRecord | undefined {
    return this.#seen.get(table.id);
  }

  /** Held when the last run ended. */
  wasHeld(table: CopyTable): boolean {
    return this.#held.has(table.id);
  }

  restore(record: CopyRecord): void {
    if (record.t === 'copy-complete') {
      this.isComplete = true;
      this.isCompleteRecorded = true;
      return;
    }
    if (record.t === 'chunk-finished') {
      const planned = this.#restoring.get(record.chunk);
      if (planned?.job.restoreFinished(record.chunk) && planned.job.kind === 'initial') planned.table.rowsCopied += record.rows;
      return;
    }
    if (record.t === 'recopy-done') {
      for (const id of record.ids) this.forget(id);
      return;
    }
    if (record.t === 'visibility' || record.t === 'operator' || record.t === 'recopy-refused') return;
    // An append whose answer was lost may have left a record twice.
    if (record.t === 'recopy-asked' && !this.noteAsked(record.id)) return;
    const id = tableId({ schema: record.schema, name: record.table });
    const table = this.#tables.get(id) ?? this.#formerly.get(id);
    if (!table) return;
    if (record.t === 'table-seen') {
      this.#seen.set(table.id, record);
      this.#held.delete(table.id);
    } else if (record.t === 'table-held') this.#held.add(table.id);
    else if (record.t === 'table-filled') this.forget(initialId(table));
    else if (record.t === 'recopy-asked') this.ask(table, record);
    else this.#restorePlanned(table, record);
  }

  /** After the last record: what an earlier run finished is gone from the plan. */
  settle(): void {
    this.#restoring.clear();
    for (const id of this.#asked) if (!id.startsWith(GIVEN)) this.#asked.delete(id);
    for (const table of this.#tables.values()) {
      const left = table.jobs.filter((job) => !job.isFinished());
      table.jobs.splice(0, table.jobs.length, ...left);
    }
  }

  #restorePlanned(table: CopyTable, record: ChunkPlannedRecord): void {
    const job = table.jobs.find((candidate) => candidate.id === record.job);
    if (!job) return;
    job.restorePlanned(record);
    this.#restoring.set(record.chunk, { table, job });
  }

  /** @returns false when a re-copy of this id was asked for before. */
  noteAsked(id: string): boolean {
    if (this.#asked.has(id)) return false;
    this.#asked.add(id);
    return true;
  }

  /** Takes in a re-copy. @returns false when what is asked for is to be copied anyway. */
  ask(table: CopyTable, request: RecopyAskedRecord): boolean {
    if (request.kind === 'keys') {
      const keys = request.keys ?? [];
      // Not so when the table had another key as they were asked for.
      if (!table.isKeyless && keys.length > 0 && keys.every((key) => key.length === table.keyColumns.length)) {
        table.keys.add(request.id, keys.map(toRowKey));
        return true;
      }
      return this.ask(table, { ...request, kind: 'table' });
    }
    const replaces = request.kind === 'replace' || table.isKeyless;
    table.jobs.push(
      new CopyJob({
        id: request.id,
        kind: request.kind,
        table,
        replaces,
        parts: replaces ? [table.ref] : request.part ? [request.part] : table.parts(),
        bounds: { ...(request.from !== undefined && { from: request.from }), ...(request.to !== undefined && { to: request.to }) },
      }),
    );
    return true;
  }

  /** What was asked for under this id is to be copied no more. @returns false when there is nothing of it. */
  forget(id: string): boolean {
    let isFound = false;
    for (const table of this.#tables.values()) {
      const at = table.jobs.findIndex((job) => job.id === id);
      if (at >= 0) table.jobs.splice(at, 1);
      isFound = table.keys.forget(id) || at >= 0 || isFound;
    }
    return isFound;
  }

  next(): NextStep | undefined {
    for (const table of this.#tables.values()) {
      if (table.state === 'held') continue;
      const chunk = table.state === 'waiting' ? undefined : table.keys.take();
      if (chunk) return { kind: 'chunk', work: { table, chunk } };
    }
    for (const table of this.#tables.values()) {
      if (table.state === 'held' || !this.#mayBegin(table)) continue;
      const job = table.activeJob();
      if (!job) continue;
      const chunk = job.takeReady();
      if (chunk) return { kind: 'chunk', work: { table, chunk } };
      const part = job.partToPlan();
      if (!part) continue;
      part.isPlanning = true;
      return { kind: 'plan', table, job, part };
    }
    return undefined;
  }

  giveBack({ table, chunk }: ChunkWork): void {
    if (chunk.kind === 'keys') table.keys.giveBack(chunk);
    else chunk.job.giveBack(chunk);
  }

  deliver({ table, chunk }: ChunkWork): void {
    if (chunk.kind === 'keys') table.keys.deliver(chunk);
    else chunk.job.deliver(chunk);
  }

  /** The chunk's rows are durable. @returns the record to write when that ends re-copies. */
  finish({ table, chunk }: ChunkWork): RecopyDoneRecord | undefined {
    let ids: readonly string[] = [];
    if (chunk.kind === 'keys') ids = table.keys.finish(chunk);
    else {
      chunk.job.finish(chunk);
      if (!chunk.job.isFinished()) return undefined;
      const at = table.jobs.indexOf(chunk.job);
      if (at >= 0) table.jobs.splice(at, 1);
      if (chunk.job.kind !== 'initial') ids = [chunk.job.id];
    }
    return ids.length > 0 ? { t: 'recopy-done', ids } : undefined;
  }

  /** Nothing is to be copied that copy complete has to wait for. */
  isEverythingDelivered(): boolean {
    return this.tables().every((table) => table.state === 'held' || (table.activeJob() === undefined && table.keys.isDelivered()));
  }

  /** Nothing at all is to be copied or to become durable. */
  isIdle(): boolean {
    return this.tables().every((table) => table.state === 'held' || (table.jobs.length === 0 && table.keys.isEmpty()));
  }

  /** Parents first: a child's rows find their parents on a target that checks foreign keys. Cycles are broken by the order below. */
  #mayBegin(table: CopyTable): boolean {
    if (this.#order !== 'parents-first' || table.state !== 'waiting') return true;
    return table.parents.every((id) => {
      const parent = this.#tables.get(id);
      return !parent || this.#rank.get(id)! > this.#rank.get(table.id)! || parent.state === 'following' || parent.state === 'held';
    });
  }

  #sort(): void {
    const smallestFirst = this.tables().toSorted((a, b) => a.bytes - b.bytes || (a.id < b.id ? -1 : 1));
    const sorted = this.#order === 'parents-first' ? parentsFirst(smallestFirst) : smallestFirst;
    this.#tables.clear();
    for (const table of sorted) this.#tables.set(table.id, table);
    this.#rank = new Map(sorted.map(({ id }, i) => [id, i]));
  }
}

function initialId({ schema, name }: CopyTable): string {
  return `initial:${schema}.${name}`;
}

function initialJob(table: CopyTable): CopyJob {
  const replaces = table.isKeyless || table.isWhole;
  return new CopyJob({
    id: initialId(table),
    kind: 'initial',
    table,
    replaces,
    parts: replaces ? [table.ref] : table.parts(),
  });
}

/** Depth first over foreign keys; within a cycle the smallest table comes first. */
function parentsFirst(tables: readonly CopyTable[]): CopyTable[] {
  const byId = new Map(tables.map((table) => [table.id, table]));
  const sorted: CopyTable[] = [];
  const visited = new Set<string>();
  const visit = (table: CopyTable): void => {
    if (visited.has(table.id)) return;
    visited.add(table.id);
    for (const id of table.parents) {
      const parent = byId.get(id);
      if (parent) visit(parent);
    }
    sorted.push(table);
  };
  tables.forEach(visit);
  return sorted;
}
