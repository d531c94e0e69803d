/**
 * The mapping as the reader of mapped topics sees it. Guarantee: rows that come from there have passed the filter and the steps and hold
 * the mapped columns only; a relation that does not fit the whole mapping is refused as it would be where the source's own rows are read.
 *
 * Names stay the source's, so that table states, chunks, keys to copy again and messages mean the same in both deployments.
 */
import { invariant, PipelineError } from '../errors.ts';
import type { Relation, RelationColumn } from '../pgoutput/message.ts';
import { bindRelation } from './bind.ts';
import { pairId, type CompiledMapping, type TableMapping } from './compiled-mapping.ts';

/** What describes a relation's rows where they do not stand as the source wrote them. */
export type DescribeRows = (relation: Relation, table: TableMapping) => Relation;

/** The filter has been applied, the steps are done; all else is as in the file, above all the casts, which only a server computes. */
export function mappedSide(mapping: CompiledMapping): CompiledMapping {
  return { ...mapping, tables: mapping.tables.map(mappedTable) };
}

function mappedTable(table: TableMapping): TableMapping {
  const mapped: { -readonly [K in keyof TableMapping]: TableMapping[K] } = { ...table };
  delete mapped.filter;
  delete mapped.steps;
  return mapped;
}

/**
 * Rows of the relation as they come out of the mapped topics: fields in the mapping's order, whatever order the stream has.
 * @throws PipelineError CF-2006 when the relation is no longer the one that was mapped.
 */
export function mappedRelation(table: TableMapping, relation: Relation): Relation {
  const bound = bindRelation(table, relation);
  if (bound.kind === 'mismatch') throw new PipelineError('CF-2006', bound.message);
  return {
    ...relation,
    columns: Array.from(bound.columnFields, (field, i) => (field < 0 ? computedField(table, i) : relation.columns[field]!)),
  };
}

function computedField(table: TableMapping, column: number): RelationColumn {
  const { name, typeOid, typmod } = table.columns[column]!.source;
  return { name, typeOid, typmod, isKey: false };
}

/** `mappedRelation` for all tables of a mapping; `table` may be of the mapped side. */
export function describeMappedRows(mapping: CompiledMapping): DescribeRows {
  const tables = new Map(mapping.tables.map((table) => [pairId(table), table]));
  return (relation, pair) => {
    const table = tables.get(pairId(pair));
    invariant(table !== undefined, `table ${pair.from.schema}.${pair.from.name} is mapped`);
    return mappedRelation(table, relation);
  };
}
