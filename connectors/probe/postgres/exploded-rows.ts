/**
 * A parent with its children as one row, for tables whose rows are the elements of an array. Guarantee: both sides give one text for the children
 * of a parent, the same exactly when the children are; a parent without children is no row on either side. Written for verify alone.
 *
 * The text is JSON: a list of children in the order of their own texts, each a list of its columns' texts. In place of what is no array, or
 * of an element that is no object, stands a text that no child is like.
 */
import type { Explode, ExplodedPart, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, quoteLiteral, quoteTable } from '#schemas/table.ts';
import { columnSql, outputText, type ColumnSql } from './column-sql.ts';

const REFUSED = quoteLiteral('["refused"]');

type Known = (type: string) => boolean;

/** For the column that brings the array: on the source the array, on the target what `groupedChildren` makes. */
export function childrenSql({ explode }: TableMapping, known: Known): ColumnSql {
  const { array } = explode!;
  const type = array === 'array' ? 'text[]' : array;
  const over = (value: string): string => {
    const list = listOf(rowText(sourceTexts(explode!, known), explode!), `${elementsOf(array, value)} WITH ORDINALITY AS e(v, n)`);
    if (array === 'array') return list;
    return `CASE ${array}_typeof(${value}) WHEN 'array' THEN ${list} WHEN 'null' THEN NULL ELSE CASE WHEN ${value} IS NOT NULL THEN ${REFUSED} END END`;
  };
  return {
    onSource: (ref) => over(array === 'array' ? `(${outputText(ref)})::text[]` : ref),
    onText: (text) => over(`(${text})::${type}`),
    onTarget: (ref) => ref,
    settled: true,
  };
}

function elementsOf(array: Explode['array'], value: string): string {
  return array === 'array' ? `unnest(${value})` : `${array}_array_elements(${value})`;
}

/** Of the children `r` of a FROM item: null where there are none. */
function listOf(row: string, from: string): string {
  return `(SELECT '[' || string_agg(q.r, ',' ORDER BY convert_to(q.r, 'UTF8')) || ']' FROM (SELECT ${row} AS r FROM ${from}) q)`;
}

/** More columns than a function takes arguments. */
function jsonRow(texts: readonly string[]): string {
  return `json_build_array(VARIADIC ARRAY[${texts.join(', ')}]::text[])::text`;
}

function rowText(texts: readonly string[], { array, parts }: Explode): string {
  if (array === 'array' || parts.every(({ path }) => path === undefined)) return jsonRow(texts);
  return `CASE ${array}_typeof(e.v) WHEN 'object' THEN ${jsonRow(texts)} ELSE '"refused"' END`;
}

function sourceTexts(explode: Explode, known: Known): string[] {
  const texts = explode.parts.map((part) => {
    const sql = columnSql(part, known);
    const text = partText(part, explode);
    return sql.onText === undefined ? text : outputText(sql.onText(text));
  });
  return explode.ordinal === undefined ? texts : [...texts, 'e.n::text'];
}

function partText({ path, targetBaseType }: ExplodedPart, { array }: Explode): string {
  if (array === 'array') return 'e.v';
  const keys = `ARRAY[${(path ?? []).map(quoteLiteral).join(', ')}]::text[]`;
  return targetBaseType === 'json' || targetBaseType === 'jsonb' ? `(e.v #> ${keys})::text` : `(e.v #>> ${keys})`;
}

/** How many children the source's row has. */
export function sourceCount({ array }: Explode, ref: string): string {
  if (array === 'array') return `cardinality(${ref})`;
  return `CASE ${array}_typeof(${ref}) WHEN 'array' THEN ${array}_array_length(${ref}) WHEN 'null' THEN 0 ELSE 1 END`;
}

/** Whether the source's row has any. */
export function sourceHas(explode: Explode, ref: string): string {
  return `(${ref} IS NOT NULL AND ${sourceCount(explode, ref)} > 0)`;
}

/** Texts of one value are one text in these types, so that what is grouped by value is grouped by text. */
const ONE_TEXT: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint', 'uuid', 'date']);

/** Column of the target's FROM item that counts a parent's children. */
export const CHILD_COUNT = 'cf children';

/**
 * The target's children by parent, as a FROM item `t` with the columns of the mapping. `where` is over the child table `t`; with it the item
 * is lateral.
 */
export function groupedChildren(mapping: TableMapping, only: boolean, known: Known, where: readonly string[] = []): string {
  const explode = mapping.explode!;
  const named = (column: string): string => `t.${quoteIdent(column)}`;
  const texts = explode.parts.map((part) => outputText(columnSql(part, known).onTarget(named(part.target))));
  if (explode.ordinal !== undefined) texts.push(outputText(named(explode.ordinal.target)));
  const keys = mapping.targetKey.map((name) => ({
    name,
    type: mapping.columns.find((column) => column.target === name)!.targetBaseType,
  }));
  const groups = keys.flatMap(({ name, type }) => [named(name), ...(ONE_TEXT.has(type) ? [] : [outputText(named(name))])]);
  const columns = keys.map(({ name }) => named(name)).join(', ');
  const row = jsonRow(texts);
  const children = `'[' || string_agg(${row}, ',' ORDER BY convert_to(${row}, 'UTF8')) || ']' AS ${quoteIdent(mapping.columns.at(-1)!.target)}`;
  const condition = where.length === 0 ? '' : ` WHERE ${where.join(' AND ')}`;
  const table = `${only ? 'ONLY ' : ''}${quoteTable(mapping.to)}`;
  const select = `SELECT ${columns}, ${children}, count(1) AS ${quoteIdent(CHILD_COUNT)} FROM ${table} AS t${condition} GROUP BY ${groups.join(', ')}`;
  return `${where.length === 0 ? '' : 'LATERAL '}(${select}) AS t`;
}

/** A child's columns by the parts' order, the ordinal last; undefined for what is none. */
export type ChildTexts = readonly (string | null)[];

export function childrenOf(text: string | null | undefined): readonly (ChildTexts | undefined)[] {
  if (text === null || text === undefined) return [];
  return (JSON.parse(text) as (ChildTexts | string)[]).map((child) => (typeof child === 'string' ? undefined : child));
}

/** How many rows of the target a row of these texts stands for. */
export function rowsIn({ explode }: TableMapping, texts: readonly (string | null | undefined)[]): bigint {
  return explode === undefined ? 1n : BigInt(childrenOf(texts.at(-1)).length);
}

/** False for a parent without children. */
export function isRow({ explode }: TableMapping, texts: readonly (string | null | undefined)[] | undefined): boolean {
  return texts !== undefined && (explode === undefined || texts.at(-1) !== null);
}
