/**
 * A table as a check reads it: the snapshot's rows, but for keys that changed between the two snapshots, which are replaced by the rows that
 * they have at the common state. Guarantee: rows and columns are those that the migration moves; no other is in a view.
 */
import { aliveSql, softDeleteOf } from '#schemas/mapping/kept-rows.ts';
import { filterSql } from '#schemas/mapping/row-filter.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { outputText } from '../column-sql.ts';
import type { Side } from '../held-snapshot.ts';
import type { Shape } from '../shape.ts';
import { conditions, fromItem, type TableProbe, type Texts, valueExpressions } from '../table-scan.ts';

/** What is laid over one side's rows. */
export interface Overlay {
  /** Key texts: of the source's key on the source, of the target's (as the source spells it) on the target. */
  readonly keys: readonly Texts[];
  /** Canonical texts in the order of `mapping.columns`. */
  readonly mapped: readonly Texts[];
  /** On the source: its own texts in the order of `sourceColumns`, of all rows that the filter selects. */
  readonly raw: readonly Texts[];
}

export interface ViewTable {
  readonly probe: TableProbe;
  readonly side: Side;
  readonly shape: Shape;
  /** Undefined: nothing changed. */
  readonly overlay: Overlay | undefined;
}

/** Collects a statement's parameters. */
export class Parameters {
  readonly values: unknown[];

  /** `first` are $1, $2 … of the query itself. */
  constructor(first: readonly unknown[] = []) {
    this.values = [...first];
  }

  /** One array a column: `$1::text[], $2::text[]`. */
  arrays(rows: readonly Texts[], width: number): string {
    return Array.from({ length: width }, (_, i) => {
      this.values.push(rows.map((row) => row[i] ?? null));
      return `$${this.values.length}::text[]`;
    }).join(', ');
  }
}

/** A column's own collation may call different texts equal, and another one on the other side: texts are compared as they are. */
const BY_BYTES = 'COLLATE "C"';

/** FROM item with c0, c1 …: canonical texts of these columns of the target, from all of the tables, in one collation. */
export function mappedView(tables: readonly ViewTable[], columns: readonly string[], parameters: Parameters): string {
  const parts = tables.flatMap((table) => {
    const at = columns.map((name) => table.probe.mapping.columns.findIndex(({ target }) => target === name));
    const values = valueExpressions(table.probe, table.side);
    const select = at.map((i, n) => `(${outputText(values[i]!)}) ${BY_BYTES} AS c${n}`).join(', ');
    const kept = `SELECT ${select} FROM ${fromItem(table.probe, table.side, table.shape)}${whereSql([...conditions(table.probe, table.side), ...untouched(table, parameters)])}`;
    if (table.overlay === undefined) return [kept];
    const rows = table.overlay.mapped.map((row) => at.map((i) => row[i] ?? null));
    const names = columns.map((_, n) => `c${n}`).join(', ');
    const texts = columns.map((_, n) => `c${n} ${BY_BYTES}`).join(', ');
    return [kept, `SELECT ${texts} FROM unnest(${parameters.arrays(rows, columns.length)}) AS u(${names})`];
  });
  return `(${parts.join(' UNION ALL ')})`;
}

export interface TypedColumn {
  readonly name: string;
  /** Without modifier. */
  readonly type: string;
}

/** Sub-select with columns of their own names and types, as a query of the file's sees the table: all rows that the migration fills, or reads. */
export function tableView(tables: readonly ViewTable[], columns: readonly TypedColumn[], parameters: Parameters): string {
  const { probe, side, shape } = tables[0]!;
  const from = `${shape.kind === 'p' ? '' : 'ONLY '}${quoteTable(side === 'source' ? probe.mapping.from : probe.mapping.to)} AS t`;
  const select = columns.map(({ name }) => `t.${quoteIdent(name)}`).join(', ');
  const parts = [`SELECT ${select} FROM ${from}${whereSql([...ownRows(probe, side), ...untouched(tables[0]!, parameters)])}`];
  for (const table of tables) {
    const { overlay } = table;
    if (overlay === undefined) continue;
    const order = side === 'source' ? table.probe.sourceColumns : table.probe.mapping.columns.map(({ target }) => target);
    const at = columns.map(({ name }) => order.indexOf(name));
    const rows = (side === 'source' ? overlay.raw : overlay.mapped).map((row) => at.map((i) => row[i] ?? null));
    const typed = columns.map(({ type }, i) => `(u.c${i})::${type}`).join(', ');
    const plain = columns.map((_, i) => `c${i}`).join(', ');
    parts.push(`SELECT ${typed} FROM unnest(${parameters.arrays(rows, columns.length)}) AS u(${plain})`);
  }
  return `(${parts.join(' UNION ALL ')})`;
}

/** The stream has only what the filter selects; a softly deleted row is none. */
function ownRows({ mapping }: TableProbe, side: Side): string[] {
  if (side === 'source') return mapping.filter ? [filterSql(mapping.filter, (column) => `t.${quoteIdent(column)}`)] : [];
  const soft = softDeleteOf(mapping);
  return soft === undefined ? [] : [aliveSql(soft, 't.')];
}

function untouched({ probe, side, overlay }: ViewTable, parameters: Parameters): string[] {
  if (overlay === undefined || overlay.keys.length === 0) return [];
  const values = valueExpressions(probe, side);
  const own =
    side === 'source'
      ? probe.mapping.sourceKey.map((name) => outputText(`t.${quoteIdent(name)}`))
      : probe.key.map((i) => outputText(values[i]!));
  const names = own.map((_, i) => `k${i}`).join(', ');
  const same = own.map((text, i) => `x.k${i} = (${text}) ${BY_BYTES}`).join(' AND ');
  return [`NOT EXISTS (SELECT FROM unnest(${parameters.arrays(overlay.keys, own.length)}) AS x(${names}) WHERE ${same})`];
}

function whereSql(all: readonly string[]): string {
  return all.length === 0 ? '' : ` WHERE ${all.map((one) => `(${one})`).join(' AND ')}`;
}
