/**
 * The tag of a table's mapping. Guarantee: two mappings have the same tag only if they make the same rows of every raw record: what was
 * mapped by another file counts as mapped by this one where the tags are equal, and nowhere else.
 *
 * Types are not in it: a value passes as its text whatever type the wire gives it, casts are the sink's business (SQL), and a type that
 * changes while the services run must not part those that started before it from those that start after.
 */
import { createHash } from 'node:crypto';
import type { TableMapping } from './compiled-mapping.ts';

/** 48 bits: what a record's header has room for, and a number holds exactly. */
const TAG_BYTES = 6;

/** Of a whole file: the same for two files only if they map the same tables, each in the same way. */
export function mappingTag(tables: readonly TableMapping[]): string {
  const tags = tables.map(tableTag).toSorted((a, b) => a - b);
  return createHash('sha256')
    .update(JSON.stringify(tags))
    .digest('hex')
    .slice(0, 2 * TAG_BYTES);
}

export function tableTag({ from, to, columns, sourceKey, targetKey, filter, steps }: TableMapping): number {
  const relevant = [
    [from.schema, from.name],
    [to.schema, to.name],
    columns.map(({ source, target }) => [source.name, target]),
    sourceKey,
    targetKey,
    filter?.conditions.map((condition) => [condition.column, condition.op, condition.values]) ?? [],
    ...(steps === undefined ? [] : [steps.digest]),
  ];
  return createHash('sha256').update(JSON.stringify(relevant)).digest().readUIntBE(0, TAG_BYTES);
}
