/**
 * Up, then down again. Guarantee: with the same seed the same rows; a difference names the column, the row that shows it, and what came
 * back, so that a claim of the inverse that does not hold is seen before anybody relies on it.
 */
import { filterValuesOf, sampleValue, seededRandom, type SampleRandom } from './sample-value.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';
import { tableId } from '../compiled-mapping.ts';
import { mapRow, SERVER_ONLY, type SourceRow } from '../map-row.ts';
import type { TableInverse } from './invert-table.ts';

export interface RoundTripFault {
  readonly column: string;
  readonly given: string | null;
  readonly back: string | null;
}

/** Undefined: the filter or a step refuses the row, so nothing of it goes up. */
export function roundTrip(inverse: TableInverse, row: SourceRow): readonly RoundTripFault[] | undefined {
  const outcome = mapRow(inverse.tables, row);
  if (outcome.kind === 'refused' || outcome.rows.length === 0) return undefined;
  const back = inverse.down(outcome.rows);
  const hidden = new Set(
    outcome.rows.flatMap(({ values }) => [...values].flatMap(([name, value]) => (value === SERVER_ONLY ? [name] : []))),
  );
  const faults: RoundTripFault[] = [];
  for (const { column, from } of inverse.kept) {
    if (!back.has(column) && from.some((name) => hidden.has(name))) continue;
    const [given, came] = [row.get(column) ?? null, back.get(column) ?? null];
    if (given !== came) faults.push({ column, given, back: came });
  }
  return faults;
}

export interface RoundTripTally {
  /** Rows that went up and came back. */
  readonly rows: number;
  /** The first that did not come back as they went. */
  readonly faults: readonly RoundTripFault[];
}

/** Random rows of the table, by its columns' types and the values that the file names. */
export function randomRoundTrips(
  inverse: TableInverse,
  source: Catalog,
  options: { readonly seed: number; readonly rows: number },
): RoundTripTally {
  const table = source.tables.find((one) => tableId(one) === tableId(inverse.tables[0]!.from));
  if (table === undefined) return { rows: 0, faults: [] };
  const random = seededRandom(options.seed);
  let rows = 0;
  for (let i = 0; i < options.rows; i++) {
    const faults = roundTrip(inverse, randomRow(table, inverse, { random, source }));
    if (faults === undefined) continue;
    rows++;
    if (faults.length > 0) return { rows, faults };
  }
  return { rows, faults: [] };
}

function randomRow(
  table: CatalogTable,
  { tables }: TableInverse,
  { random, source }: { readonly random: SampleRandom; readonly source: Catalog },
): SourceRow {
  return new Map(
    table.columns
      .filter(({ generated }) => generated === '')
      .map((column) => [
        column.name,
        sampleValue(column, { random, types: source.types, named: tables.flatMap((mapping) => filterValuesOf(column, mapping)) }),
      ]),
  );
}
