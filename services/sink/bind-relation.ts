/**
 * The transformer in one process: ties a relation of the stream to the mapping. Guarantee: a change's target row is what the compiled
 * mapping says, and a relation that does not fit it is refused before any of its rows is read.
 */
import { PipelineError } from '#schemas/errors.ts';
import { bindRelation as bind, type BoundTable } from '#schemas/mapping/bind.ts';
import { bySource, tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { withoutWitness, witnessColumn } from '#schemas/mapping/share.ts';
import { UnmappableRow } from '#schemas/mapping/unmappable-row.ts';
import { decodeTuple, type Relation } from '#schemas/pgoutput/message.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { Layout } from '#schemas/pgoutput/tuple.ts';
import { RowImage } from './row-image.ts';

/** A relation (table or leaf) and what its tuples mean: as they come, or with an image as it makes them. */
export interface BoundRelation {
  readonly relation: Relation;
  readonly table: TableMapping;
  readonly layout: Layout;
  /** True for a row that the mapping moves; undefined = every row. @throws UnmappableRow when that cannot be told */
  readonly passes: ((buffer: Buffer, at: number) => boolean) | undefined;
  /** Makes the mapped row of a tuple; undefined = the tuple is the row. */
  readonly image: RowImage | undefined;
}

/** Layouts seen per table: leaves with the same columns share one, so that their changes fold together without rewriting. */
const layouts = new WeakMap<TableMapping, Layout[]>();

function sharedLayout(table: TableMapping, layout: Layout): Layout {
  let known = layouts.get(table);
  if (known === undefined) layouts.set(table, (known = []));
  const same = known.find((other) => other.columns.join() === layout.columns.join() && other.key.join() === layout.key.join());
  if (same !== undefined) return same;
  known.push(layout);
  return layout;
}

/** @throws PipelineError CF-2006 when the relation is no longer the one that was mapped. */
export function bindRelation(relation: Relation, table: TableMapping): BoundRelation {
  const bound = bind(table, relation);
  if (bound.kind === 'mismatch') throw new PipelineError('CF-2006', bound.message);
  const image = table.steps === undefined ? undefined : new RowImage(table, bound, table.steps);
  const layout = sharedLayout(table, image?.layout ?? { columns: bound.fieldColumns, key: bound.keyFields });
  return { relation, table, layout, passes: passesOf(bound), image };
}

function passesOf(bound: BoundTable): BoundRelation['passes'] {
  const selects = bound.accepts === undefined ? undefined : rowFilter(bound);
  const witness = witnessColumn(bound.table);
  if (witness === undefined) return selects;
  const field = bound.columnFields[witness]!;
  return (buffer, at) => {
    if (selects?.(buffer, at) === false) return false;
    if (decodeTuple(buffer, at)[field] === null) throw withoutWitness(bound.table, witness);
    return true;
  };
}

function rowFilter({ accepts, filterFields }: BoundTable): (buffer: Buffer, at: number) => boolean {
  return (buffer, at) => {
    const row = decodeTuple(buffer, at);
    const values = Array.from(filterFields, (field) => {
      const value = row[field];
      if (value === undefined)
        throw new UnmappableRow('CF-4002', 'a filter column is absent from a change: the table needs REPLICA IDENTITY FULL');
      return value;
    });
    return accepts!(values);
  };
}

const NOTHING: readonly TableMapping[] = [];

/** Which mapped table a relation belongs to: itself, or the root of its partition tree. Each comes with all the targets that it goes to. */
export class RelationResolver {
  readonly #byName: ReadonlyMap<string, readonly TableMapping[]>;
  readonly #roots = new Map<number, readonly TableMapping[]>();
  readonly #leaves = new Map<string, readonly ReadonlySet<number>[]>();

  constructor(mapping: CompiledMapping, source: readonly CatalogTable[]) {
    this.#byName = bySource(mapping.tables);
    for (const table of source) {
      const mapped = this.#byName.get(tableId(table));
      if (mapped !== undefined) this.#roots.set(table.oid, mapped);
      if (table.kind === 'p')
        this.learn(
          table,
          table.leaves.map((leaf) => leaf.oid),
        );
    }
  }

  /** Takes a partitioned table's present leaves; called again when one was attached. */
  learn(table: { readonly schema: string; readonly name: string }, leaves: readonly number[]): void {
    const id = tableId(table);
    const mapped = this.#byName.get(id);
    if (mapped === undefined) return;
    for (const leaf of leaves) this.#roots.set(leaf, mapped);
    this.#leaves.set(id, [...(this.#leaves.get(id) ?? []), new Set(leaves)]);
  }

  /** A relation is this table or a leaf of it. @returns false when that was known. */
  know(oid: number, table: { readonly schema: string; readonly name: string }): boolean {
    const mapped = this.#byName.get(tableId(table));
    if (mapped === undefined || this.#roots.get(oid) === mapped) return false;
    this.#roots.set(oid, mapped);
    return true;
  }

  resolve(relation: Relation): readonly TableMapping[] {
    return this.#roots.get(relation.oid) ?? this.#byName.get(tableId(relation)) ?? NOTHING;
  }

  /**
   * True when truncating these relations empties the whole of `table`. The log may be read behind an attach, so the leaves of an
   * earlier look count too: emptied once too often is mended by the re-copy that a truncate of some leaves brings, too seldom is not.
   */
  emptiesAll({ from }: TableMapping, oids: readonly number[]): boolean {
    const looks = this.#leaves.get(tableId(from));
    return looks === undefined || looks.some((leaves) => [...leaves].every((leaf) => oids.includes(leaf)));
  }
}
