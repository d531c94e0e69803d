/**
 * One table as the copier knows it. Guarantee: `state` follows from the table's jobs alone, so it is the same before and after a
 * restart.
 */

import { sourceColumns, tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { type CatalogColumn, identityColumns, type CatalogTable } from '#schemas/table.ts';
import type { KeyColumn, RelationShape } from '#connectors/source/copy-source.ts';
import { ChunkSize } from './chunk-size.ts';
import type { PartRef } from './control-record.ts';
import type { CopyJob } from './copy-job.ts';
import type { KeyQueue } from './key-queue.ts';
import type { ShapePolicy } from './shape.ts';

export type CopyState = 'waiting' | 'copying' | 'following' | 'held';

export class CopyTable {
  readonly id: string;
  readonly schema: string;
  readonly name: string;
  readonly oid: number;
  readonly partitioned: boolean;
  /** As published: all but generated ones. */
  columns: readonly string[];
  readonly keyColumns: readonly string[];
  /** Copied in one chunk although it has a key. */
  readonly isWhole: boolean;
  key: readonly KeyColumn[];
  /** Equal key values have equal texts. */
  readonly hasExactKeys: boolean;
  readonly policy: ShapePolicy;
  /** By `tableId`: other names that records have it under. */
  readonly formerly: readonly string[];
  /** Tables that foreign keys of this one point at. */
  readonly parents: readonly string[];
  readonly bytes: number;
  rowsEstimated: number;
  rowsCopied = 0;
  chunksReread = 0;
  error: string | undefined;
  /** What the raw log was told last in this process. */
  announced: CopyState = 'waiting';
  leaves: readonly PartRef[];
  shapes = new Map<number, RelationShape>();
  /** Relation messages of commits below this may show an older shape: the catalogue was compared there. */
  shapeLsn = 0n;
  /** In order; only the first that is not yet delivered is worked on. */
  readonly jobs: CopyJob[] = [];
  /** Chunks whose rows are durable and whose record is not yet. */
  unrecorded = 0;
  readonly keys: KeyQueue;
  readonly chunkSize: ChunkSize;

  constructor(mappings: readonly TableMapping[], catalog: CatalogTable, options: CopyTableOptions) {
    this.id = tableId(catalog);
    this.schema = catalog.schema;
    this.name = catalog.name;
    this.oid = catalog.oid;
    this.isWhole = options.isWhole;
    this.partitioned = catalog.kind === 'p';
    const published = catalog.columns.filter((column) => column.generated === '');
    this.columns = published.map((column) => column.name);
    this.key = copyKeyOf(catalog);
    this.keyColumns = this.key.map(({ name }) => name);
    this.hasExactKeys = this.keyColumns.every((name) => published.some((column) => column.name === name && isExact(column)));
    this.policy = {
      mapped: new Set(mappings.flatMap(readColumns)),
      dropped: new Set(mappings.flatMap(({ dropped }) => dropped)),
      ignoresUnmapped: mappings.every(({ unmapped }) => unmapped === 'ignore'),
    };
    this.formerly = mappings.flatMap(({ formerly = [] }) => formerly.map(tableId));
    this.parents = catalog.foreignKeys.map((key) => tableId({ schema: key.toSchema, name: key.toTable })).filter((id) => id !== this.id);
    this.bytes = Math.max(
      catalog.bytes,
      catalog.leaves.reduce((sum, leaf) => sum + leaf.bytes, 0),
    );
    this.rowsEstimated = Math.max(
      0,
      catalog.rowEstimate,
      catalog.leaves.reduce((sum, leaf) => sum + Math.max(0, leaf.rowEstimate), 0),
    );
    this.leaves = catalog.leaves.map(({ oid, schema, name }) => ({ oid, schema, name }));
    this.keys = options.keys;
    this.chunkSize = new ChunkSize(options.chunkRows, options.chunkTargetMs, this.rowsEstimated > 0 ? this.bytes / this.rowsEstimated : 0);
  }

  get ref(): PartRef {
    return { oid: this.oid, schema: this.schema, name: this.name };
  }

  get isKeyless(): boolean {
    return this.keyColumns.length === 0;
  }

  /** What is read one by one. A partitioned table without leaves is read as itself: it has no rows, but a chunk all the same. */
  parts(): readonly PartRef[] {
    return this.partitioned && this.leaves.length > 0 ? this.leaves : [this.ref];
  }

  /** Every relation whose changes are this table's. */
  oids(): readonly number[] {
    return [this.oid, ...this.leaves.map((leaf) => leaf.oid)];
  }

  activeJob(): CopyJob | undefined {
    return this.jobs.find((job) => !job.isDelivered());
  }

  get state(): CopyState {
    if (this.error !== undefined) return 'held';
    const job = this.activeJob();
    if (!job) return 'following';
    if (job.begun) return 'copying';
    if (job.kind === 'initial') return 'waiting';
    // All of it was asked for, perhaps because a target has none of it yet.
    return job.kind === 'table' || job.kind === 'replace' ? 'copying' : 'following';
  }

  /** As an operator is told: `following` only once no crash can have a chunk of the initial copy read again. */
  get reported(): CopyState {
    const mayRepeat = this.unrecorded > 0 || this.jobs.some((job) => job.kind === 'initial');
    return this.state === 'following' && mayRepeat ? 'copying' : this.state;
  }
}

function readColumns(mapping: TableMapping): readonly string[] {
  const filtered = mapping.filter?.conditions.map((condition) => condition.column) ?? [];
  return [...sourceColumns(mapping).map((column) => column.name), ...mapping.sourceKey, ...filtered];
}

/** The columns by which rows are asked for; empty where the table has no key. */
export function copyKeyOf(catalog: CatalogTable): readonly KeyColumn[] {
  return (identityColumns(catalog) ?? []).map((name) => {
    const column = catalog.columns.find((candidate) => candidate.name === name && candidate.generated === '');
    return { name, type: column?.baseType ?? 'text' };
  });
}

/** bool "char" name int8 int2 int4 text oid varchar date timestamp timestamptz uuid. */
const EXACT_TYPES: ReadonlySet<number> = new Set([16, 18, 19, 20, 21, 23, 25, 26, 1043, 1082, 1114, 1184, 2950]);

/** Not numeric (1.0, 1.00), floats (-0), bpchar, citext, or text under a collation that may hold different texts for equal. */
function isExact(column: CatalogColumn): boolean {
  return column.typtype === 'e' || (EXACT_TYPES.has(column.typeOid) && column.collation === undefined);
}

export interface CopyTableOptions {
  readonly chunkRows: number;
  readonly chunkTargetMs: number;
  readonly isWhole: boolean;
  readonly keys: KeyQueue;
}
