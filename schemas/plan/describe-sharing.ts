/**
 * What a table has in common with others of the file, in words: its source's columns with the source's other targets, its target with the
 * target's other sources. Guarantee: a column that arrives somewhere is never told as not moved, nor one that another table feeds as empty.
 */
import { pairId, tableId, type TableMapping } from '../mapping/compiled-mapping.ts';
import { showTable } from '../mapping/table-pattern.ts';
import type { CatalogColumn, CatalogTable } from '../table.ts';
import type { PlanElsewhere, PlanUnfed } from './plan-document.ts';

export interface Company {
  /** Of the same source table. */
  readonly siblings: readonly TableMapping[];
  /** Into the same target table. */
  readonly partners: readonly TableMapping[];
}

export function companyOf(table: TableMapping, all: readonly TableMapping[]): Company {
  const others = all.filter((other) => pairId(other) !== pairId(table));
  return {
    siblings: others.filter(({ from }) => tableId(from) === tableId(table.from)),
    partners: others.filter(({ to }) => tableId(to) === tableId(table.to)),
  };
}

/** Columns that do not go to this target, but to others. */
export function describeElsewhere({ dropped }: TableMapping, { siblings }: Company, source: CatalogTable): PlanElsewhere[] {
  return dropped.flatMap((name) => {
    const to = siblings.filter((sibling) => reads(sibling, name)).map((sibling) => showTable(sibling.to));
    const column = source.columns.find((one) => one.name === name);
    return to.length === 0 || column === undefined ? [] : [{ column: name, type: column.type, to }];
  });
}

function reads({ columns, steps, explode }: TableMapping, name: string): boolean {
  return (
    explode?.name === name ||
    steps?.inputs.some((input) => input.name === name) === true ||
    columns.some(({ source }) => source.name === name)
  );
}

export function describeUnfed(columns: readonly CatalogColumn[], { merge }: TableMapping, { partners }: Company): PlanUnfed[] {
  return columns.map(({ name, type, generated, hasDefault, identity }) => {
    const from = merge === undefined ? undefined : partners.find((other) => other.columns.some(({ target }) => target === name));
    if (from !== undefined) return { column: name, type, becomes: `from ${showTable(from.from)}` };
    const becomes = generated !== '' ? 'computed by the target' : hasDefault || identity !== '' ? 'its default' : 'null';
    return { column: name, type, becomes };
  });
}

/** Undefined: the target is this table's alone. */
export function describeSharing({ share, merge, from }: TableMapping, { partners }: Company): string | undefined {
  if (partners.length === 0) return undefined;
  const others = partners.map((other) => showTable(other.from)).join(' and ');
  if (merge !== undefined)
    return `its rows are put together with those of ${others}: a row is there as long as one of them has it; "${merge.witness}" is null where ${showTable(from)} does not`;
  const own = share?.map(({ target, value }) => `"${target}" is ${JSON.stringify(value)}`).join(' and ') ?? '';
  return `${others} ${partners.length === 1 ? 'goes' : 'go'} there too; its own rows are those where ${own}`;
}
