/**
 * Tables that stand under another name than the file's, because a rename swap gave them one. Guarantee: pure; a catalogue that is `presented`
 * has every table where the file expects it, so that mapping, plan and hash are the same before and after a swap; a mapping that `standing` has
 * gone over names every table as the server knows it now, and has the same hash.
 */
import type { CutoverEntry } from '../config/migration-file.ts';
import type { Catalog, CatalogForeignKey, CatalogTable } from '../table.ts';
import { tableId, type CompiledMapping, type Renames, type TableName } from './compiled-mapping.ts';

export function swapsNames({ cutover }: { readonly cutover?: Pick<CutoverEntry, 'strategy'> }): boolean {
  return cutover?.strategy === 'rename-swap';
}

/** Where the tables of a schema go that have given their names away: names of indexes and owned sequences go along, and meet nobody there. */
export function retiredSchema(schema: string): string {
  return `${schema}_old`;
}

/** What a swap makes of the tables of a mapping, as the file names them. */
export function swappedNames({ tables }: Pick<CompiledMapping, 'tables'>): Renames {
  return tables.flatMap(({ from, to }) => [
    { named: plain(from), now: { schema: retiredSchema(from.schema), name: from.name } },
    { named: plain(to), now: plain(from) },
  ]);
}

export function sameRenames(one: Renames, other: Renames): boolean {
  const places = new Map(other.map((rename) => [tableId(rename.named), tableId(rename.now)]));
  return one.length === other.length && one.every((rename) => places.get(tableId(rename.named)) === tableId(rename.now));
}

/** Both of one database: what the file calls by some name is under that name. */
export function presented(catalog: Catalog, renames: Renames): Catalog {
  if (renames.length === 0) return catalog;
  const place = placer(renames.map(({ named, now }) => ({ from: now, to: named })));
  return {
    ...catalog,
    tables: catalog.tables.map((table): CatalogTable => {
      const foreignKeys = table.foreignKeys.map((key): CatalogForeignKey => {
        const { schema, name } = place({ schema: key.toSchema, name: key.toTable });
        return { ...key, toSchema: schema, toTable: name };
      });
      return { ...table, ...place(table), foreignKeys };
    }),
    sequences: catalog.sequences.map((sequence) => {
      const { owner } = sequence;
      if (owner === undefined) return sequence;
      const { schema, name } = place({ schema: owner.schema, name: owner.table });
      return { ...sequence, owner: { ...owner, schema, table: name } };
    }),
  };
}

/** @param mapping compiled from catalogues that were `presented`. @param swaps that the file's cut-over swaps names, be it that it has or has not */
export function standing(mapping: CompiledMapping, renames: Renames, swaps: boolean): CompiledMapping {
  if (!swaps) return mapping;
  const place = placer(renames.map(({ named, now }) => ({ from: named, to: now })));
  return {
    ...mapping,
    tables: mapping.tables.map((table) => {
      const from = place(table.from);
      // A direction's own source is meant by each of them, for its publication has nothing of the other side.
      const names = [table.from, { schema: retiredSchema(table.from.schema), name: table.from.name }, table.to];
      return { ...table, from, to: place(table.to), formerly: names.filter((name) => tableId(name) !== tableId(from)).map(plain) };
    }),
    renamed: { named: mapping, renames },
  };
}

/** With the names of the file. */
export function asNamed(mapping: CompiledMapping): CompiledMapping {
  return mapping.renamed?.named ?? mapping;
}

function placer(moves: readonly { readonly from: TableName; readonly to: TableName }[]): (table: TableName) => TableName {
  const places = new Map(moves.map(({ from, to }) => [tableId(from), to]));
  return (table) => plain(places.get(tableId(table)) ?? table);
}

function plain({ schema, name }: TableName): TableName {
  return { schema, name };
}
