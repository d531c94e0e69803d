/**
 * Rows of a chunk → COPY lines of the target's columns. Guarantee: lines pass untouched when every field is mapped and every row moves;
 * else they are taken apart, filtered, and computed columns come from the shared row function. Of rows that were asked for by key and
 * that the filter leaves out, the keys are told.
 */
import type { ChunkBatch } from '#connectors/target/target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { type ChunkRowsHeader, KEYS_CHUNK, type UnmappedLine } from '#schemas/frame/frame.ts';
import { sourceColumns, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRowPredicate } from '#schemas/mapping/row-filter.ts';
import { withoutWitness, witnessColumn } from '#schemas/mapping/share.ts';
import { unmappable } from '#schemas/mapping/steps/refuse-row.ts';
import { rowFunction, type Field } from '#schemas/mapping/steps/table-steps.ts';
import type { RowFault } from '#schemas/mapping/unmappable-row.ts';
import { copyLine, decodeCopyRows } from '#schemas/value/copy-text.ts';

type Lines = Pick<ChunkBatch, 'columns' | 'rows' | 'rowCount' | 'unmapped'>;
type Row = readonly (string | null)[];

export interface ProjectedChunk extends Lines {
  /** Keys asked for whose row the filter leaves out, as texts of the source's key. */
  readonly leftOut: readonly (readonly string[])[];
}

/** @throws PipelineError CF-2006 when a mapped column is not among the chunk's. */
export function projectChunk(mapping: TableMapping, header: ChunkRowsHeader, rows: Buffer): ProjectedChunk {
  const names = header.columns;
  const columns = names.map((name) => mapping.columns.findIndex((column) => column.source.name === name));
  const missing = sourceColumns(mapping).find((column) => !names.includes(column.name));
  if (missing !== undefined) {
    throw new PipelineError('CF-2006', `a chunk of ${mapping.from.schema}.${mapping.from.name} lacks the mapped column ${missing.name}`);
  }
  const witness = witnessColumn(mapping);
  const witnessField = witness === undefined ? -1 : columns.indexOf(witness);
  const unmapped = (header.unmapped ?? []).map((line) => byTarget(line, mapping));
  if (columns.every((i) => i >= 0) && mapping.filter === undefined && mapping.steps === undefined && witness === undefined) {
    return { columns, rows: [rows], rowCount: header.rows, unmapped, leftOut: [] };
  }
  const accepts = mapping.filter && compileRowPredicate(mapping.filter);
  const filterFields = (mapping.filter?.conditions ?? []).map(({ column }) => names.indexOf(column));
  const compute = computer(mapping, names);
  const kept: string[] = [];
  const leftOut: string[][] = [];
  const keyFields = header.chunk.startsWith(KEYS_CHUNK) ? mapping.sourceKey.map((name) => names.indexOf(name)) : [];
  for (const row of decodeCopyRows(rows, names.length)) {
    // A filter column that is not mapped does not come with a chunk: the chunk was read through the filter then.
    const passes = accepts === undefined || filterFields.includes(-1) || accepts(filterFields.map((i) => row[i]!));
    if (!passes) {
      if (keyFields.length > 0) leftOut.push(keyFields.map((i) => row[i]!));
      continue;
    }
    const computed = row[witnessField] === null ? withoutWitness(mapping, witness!).fault : compute(row);
    if (Array.isArray(computed)) kept.push(copyLine([...row.filter((_, i) => columns[i]! >= 0), ...computed]));
    else unmapped.push(byTarget({ fault: computed, values: Object.fromEntries(names.map((name, i) => [name, row[i]!])) }, mapping));
  }
  return {
    columns: [...columns.filter((i) => i >= 0), ...(mapping.steps?.computed.map(({ column }) => column) ?? [])],
    rows: [Buffer.from(kept.join(''), 'utf8')],
    rowCount: kept.length,
    unmapped,
    leftOut,
  };
}

function byTarget({ fault, values }: UnmappedLine, { columns }: TableMapping): UnmappedLine {
  const known = columns.filter(({ source }) => values[source.name] !== undefined);
  return { fault, values: Object.fromEntries(known.map(({ source, target }) => [target, values[source.name]!])) };
}

/** Values of the computed columns of a row of a chunk, which is whole; or why there are none. */
function computer(mapping: TableMapping, names: readonly string[]): (row: Row) => (string | null)[] | RowFault {
  const { steps } = mapping;
  if (steps === undefined) return () => [];
  const fields = steps.inputs.map((input) => names.indexOf(input.name));
  const { compute } = rowFunction(steps);
  const computed: Field[] = [];
  return (row) => {
    const refusal = compute(
      fields.map((field) => row[field]),
      computed,
    );
    return refusal === undefined ? computed.map((field) => field ?? null) : unmappable(refusal).fault;
  };
}
