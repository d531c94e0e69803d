/**
 * What the file declares of a table's way back, as the forward mapping carries it. Guarantee: pure; another digest as soon as what is declared makes other
 * rows of the source: expressions, texts of lookups and functions, the types of what they read; without a declaration there is nothing.
 */
import { createHash } from 'node:crypto';
import type { ReverseEntry, SetEntry, TableEntry } from '#schemas/config/migration-file.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { canonicalJson } from '../canonical-json.ts';
import type { DeclaredReverse } from '../compiled-mapping.ts';
import type { UserFunctions } from '../steps/user-function.ts';

/** What it is made from, and what is made. */
interface Sides {
  readonly source: CatalogTable;
  readonly target: CatalogTable;
  readonly functions: UserFunctions | undefined;
}

export function declaredReverse({ reverse }: Pick<TableEntry, 'reverse'>, sides: Sides): DeclaredReverse | undefined {
  if (reverse === undefined) return undefined;
  return reverse.mode === 'none' ? { mode: 'none' } : { mode: 'set', digest: digestOf(reverse, sides) };
}

function digestOf({ set }: Extract<ReverseEntry, { mode: 'set' }>, { source, target, functions }: Sides): string {
  const relevant = Object.entries(set)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { from, value, steps }]) => ({
      name,
      type: typeOf(source, name),
      from: from.map((one) => [one, typeOf(target, one)]),
      value,
      steps: steps.map(({ step }) => step),
      functions: digestsOf(steps, functions),
    }));
  return createHash('sha256').update(canonicalJson(relevant)).digest('hex');
}

function typeOf({ columns }: CatalogTable, name: string): string | null {
  return columns.find((column) => column.name === name)?.type ?? null;
}

function digestsOf(steps: SetEntry['steps'], functions: UserFunctions | undefined): string[] {
  return steps.flatMap(({ step: { call } }) => functions?.get(call ?? '')?.digest ?? []);
}
