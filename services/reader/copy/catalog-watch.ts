/**
 * Compares the source's catalogues with what was last accounted for. Guarantee: a leaf attached is copied, a leaf detached loses its
 * rows on the target, a change that may have rewritten values brings a re-copy, and one that the mapping does not cover holds the
 * table; the new state is recorded only behind the requests that it caused.
 */
import type { CatalogState, CopySource, TableState } from '#connectors/source/copy-source.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { formatLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { PartRef, RecopyAskedRecord, TableSeenRecord } from './control-record.ts';
import type { CopyPlan } from './copy-plan.ts';
import type { CopyTable } from './copy-table.ts';
import { compareShapes, sameColumns } from './shape.ts';
import type { StreamSide } from './stream-side.ts';

export interface CatalogWatchOptions {
  readonly source: CopySource;
  readonly plan: CopyPlan;
  readonly stream: StreamSide;
  readonly logger: Logger;
  readonly ask: (table: CopyTable, request: Omit<RecopyAskedRecord, 't' | 'id' | 'schema' | 'table'>) => Promise<void>;
  readonly hold: (table: CopyTable, error: string) => Promise<void>;
  readonly record: (record: TableSeenRecord) => Promise<void>;
  /** A leaf was attached; told before the leaf's chunks are asked for. */
  readonly onLeaves: (table: CopyTable) => void;
}

interface PendingRewrite {
  readonly relfilenode: number;
  /** The stream has to pass this before a truncate can be ruled out. */
  readonly lsn: Lsn;
}

export class CatalogWatch {
  readonly #options: CatalogWatchOptions;
  /** Relations truncated in the stream since their relfilenode was last compared. */
  readonly #truncated = new Set<number>();
  readonly #pending = new Map<number, PendingRewrite>();
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: CatalogWatchOptions) {
    this.#options = options;
  }

  onTruncated(oid: number): void {
    this.#truncated.add(oid);
  }

  /** True when the stream's description differs from the catalogue's as last accounted for: something changed in between. */
  differs(table: CopyTable, relation: Relation, commit: Lsn): boolean {
    const known = table.shapes.get(relation.oid);
    return guarded('shape') && known !== undefined && commit >= table.shapeLsn && !sameColumns(known.columns, relation.columns);
  }

  /** Looks at every table. A call while one is under way is answered by another look after it. */
  check(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#run().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      const tables = this.#options.plan.tables().filter((table) => table.state !== 'held');
      if (tables.length === 0) return;
      const catalog = await this.#options.source.catalog(tables.map((table) => table.oid));
      for (const table of tables) await this.#account(table, catalog);
    } while (this.#again);
  }

  async #account(table: CopyTable, catalog: CatalogState): Promise<void> {
    const { plan, record } = this.#options;
    const now = catalog.tables.find((candidate) => candidate.oid === table.oid);
    if (!now) return this.#options.hold(table, 'the table is gone from the source');
    // A rename swap gave it the name that it bears by turns: everything begins anew with that.
    if (table.formerly.includes(tableId(now))) return;
    if (now.schema !== table.schema || now.name !== table.name)
      return this.#options.hold(table, `the table was renamed to ${now.schema}.${now.name}`);
    const first = table.shapes.size === 0;
    if (first) this.#restore(table, plan.seen(table), now, catalog.lsn);
    let changed = first && plan.seen(table) === undefined;
    if (guarded('partition-watch')) changed = (await this.#accountForLeaves(table, now)) || changed;
    if (guarded('shape')) changed = (await this.#accountForShapes(table, now, catalog.lsn)) || changed;
    if (plan.wasHeld(table)) {
      await this.#options.ask(table, { kind: 'table', reason: 'the table was held' });
      changed = true;
    }
    if (!changed || table.state === 'held') return;
    await record(seenRecord(table));
  }

  /** What the last run had accounted for; a table never seen is taken as it is. */
  #restore(table: CopyTable, seen: TableSeenRecord | undefined, now: TableState, lsn: Lsn): void {
    const { stream } = this.#options;
    if (seen) {
      for (const leaf of table.leaves) if (!seen.leaves.some((old) => old.oid === leaf.oid)) stream.untrack(leaf.oid);
      table.leaves = seen.leaves.map(({ oid, schema, name }) => ({ oid, schema, name }));
      table.shapes = new Map([seen.shape, ...seen.leaves.map((leaf) => leaf.shape)].map((shape) => [shape.oid, shape]));
      table.shapeLsn = parseLsn(seen.lsn);
    } else {
      const known = new Set(table.leaves.map((leaf) => leaf.oid));
      table.shapes = new Map(
        [now.shape, ...now.leaves.filter((leaf) => known.has(leaf.oid)).map((leaf) => leaf.shape)].map((shape) => [shape.oid, shape]),
      );
      table.shapeLsn = lsn;
    }
    stream.track(table);
  }

  async #accountForLeaves(table: CopyTable, now: TableState): Promise<boolean> {
    if (!table.partitioned) return false;
    const attached = now.leaves.filter((leaf) => !table.leaves.some((known) => known.oid === leaf.oid));
    const detached = table.leaves.filter((leaf) => !now.leaves.some((known) => known.oid === leaf.oid));
    for (const { oid, schema, name, shape } of attached) {
      table.leaves = [...table.leaves, { oid, schema, name }];
      table.shapes.set(oid, shape);
      this.#options.onLeaves(table);
      await this.#copyLeaf(table, { oid, schema, name });
    }
    for (const leaf of detached) await this.#removeLeaf(table, leaf);
    return attached.length > 0 || detached.length > 0;
  }

  async #copyLeaf(table: CopyTable, leaf: PartRef): Promise<void> {
    const { stream, logger, ask } = this.#options;
    logger.info({ table: `${table.schema}.${table.name}`, leaf: `${leaf.schema}.${leaf.name}` }, 'a partition was attached: it is copied');
    stream.track(table);
    // Whole-tree chunks under way do not watch the new leaf's changes.
    stream.voidTree(table, 'a partition was attached');
    const initial = table.jobs.find((job) => job.kind === 'initial' && !job.isDelivered());
    if (initial) {
      if (initial.replaces) return;
      initial.addPart(leaf);
      initial.dropPart(table.oid);
    } else if (table.isKeyless) await ask(table, { kind: 'replace', reason: `partition ${leaf.name} was attached` });
    else await ask(table, { kind: 'part', part: leaf, reason: `partition ${leaf.name} was attached` });
  }

  async #removeLeaf(table: CopyTable, leaf: PartRef): Promise<void> {
    const { stream, logger, ask, source } = this.#options;
    logger.info(
      { table: `${table.schema}.${table.name}`, leaf: `${leaf.schema}.${leaf.name}` },
      'a partition was detached: its rows are deleted',
    );
    table.leaves = table.leaves.filter((other) => other.oid !== leaf.oid);
    table.shapes.delete(leaf.oid);
    stream.untrack(leaf.oid);
    stream.voidTable(table, 'a partition was detached');
    for (const job of table.jobs) job.dropPart(leaf.oid, table.ref);
    if (table.state === 'waiting') return;
    const reason = `partition ${leaf.name} was detached`;
    if (table.isKeyless) return ask(table, { kind: 'replace', reason });
    let found = false;
    for await (const keys of source.keysOf(leaf, leaf.oid, table.key)) {
      found = true;
      await ask(table, { kind: 'keys', keys, reason });
    }
    // Gone, or emptied meanwhile: which rows the target has of it cannot be known any more.
    if (!found) await ask(table, { kind: 'replace', reason });
  }

  async #accountForShapes(table: CopyTable, now: TableState, lsn: Lsn): Promise<boolean> {
    let changed = false;
    for (const shape of [now.shape, ...now.leaves.map((leaf) => leaf.shape)]) {
      const known = table.shapes.get(shape.oid);
      if (!known) continue;
      const change = compareShapes(known.columns, shape.columns, table.policy);
      if (change.kind === 'uncovered') {
        await this.#options.hold(table, `the table changed: ${change.what}`);
        return true;
      }
      const sameShape = sameColumns(known.columns, shape.columns);
      const rewritten =
        change.kind === 'rewritten'
          ? change.what
          : sameShape && known.relfilenode !== shape.relfilenode
            ? this.#unexplained(table, shape.oid, shape.relfilenode, lsn)
            : undefined;
      if (rewritten === 'pending') continue;
      if (sameShape && known.relfilenode === shape.relfilenode) continue;
      changed = true;
      this.#pending.delete(shape.oid);
      this.#truncated.delete(shape.oid);
      table.shapes.set(shape.oid, shape);
      table.shapeLsn = lsn;
      if (shape.oid === table.oid) table.columns = shape.columns.map((column) => column.name);
      this.#options.stream.voidTable(table, 'the table changed its shape', shape.oid);
      if (rewritten !== undefined && table.state !== 'waiting') await this.#options.ask(table, { kind: 'table', reason: rewritten });
    }
    return changed;
  }

  /** A new relfilenode without a new shape: a truncate explains it; else values may have been rewritten without a message. */
  #unexplained(table: CopyTable, oid: number, relfilenode: number, lsn: Lsn): string | undefined {
    if (table.state === 'waiting' || this.#truncated.has(oid)) return undefined;
    const pending = this.#pending.get(oid);
    if (pending?.relfilenode !== relfilenode) {
      this.#pending.set(oid, { relfilenode, lsn });
      return 'pending';
    }
    return this.#options.stream.position > pending.lsn ? 'the table was rewritten' : 'pending';
  }
}

function seenRecord(table: CopyTable): TableSeenRecord {
  const shape = (oid: number) => table.shapes.get(oid)!;
  return {
    t: 'table-seen',
    schema: table.schema,
    table: table.name,
    lsn: formatLsn(table.shapeLsn as Lsn),
    shape: shape(table.oid),
    leaves: table.leaves.map((leaf) => ({ ...leaf, shape: shape(leaf.oid) })),
  };
}
