/**
 * Tests of the mapping (`tests:`). Guarantee: each is run by the functions of the pipeline itself, without a server; every fault of every
 * test is told, with its place in the file, what was expected and what came; what only a server knows is never called right.
 */
import type { ExpectedRow, MappingTest, PlacedValue } from '../config/mapping-test.ts';
import type { Place } from '../config/yaml-source.ts';
import { catalogue } from '../error-catalogue.ts';
import type { ErrorCode, Finding } from '../errors.ts';
import { didYouMean } from '../nearest-name.ts';
import type { Catalog, CatalogTable } from '../table.ts';
import { tableId, type ColumnMapping, type CompiledMapping, type TableMapping } from './compiled-mapping.ts';
import { mapRow, SERVER_ONLY, type MappedRow, type SourceRow } from './map-row.ts';
import { parseTablePattern, showTable } from './table-pattern.ts';
import { sameTargetValue, sourceText } from './value-text.ts';

export interface TestResult {
  readonly test: MappingTest;
  /** None: it passed. */
  readonly faults: readonly Finding[];
  /** The source row as it was mapped; absent where the test itself is wrong. */
  readonly row?: SourceRow;
  readonly tables?: readonly TableMapping[];
}

export function runMappingTests(tests: readonly MappingTest[], mapping: CompiledMapping, source: Catalog): TestResult[] {
  return tests.map((test) => runTest(test, mapping, source));
}

function runTest(test: MappingTest, mapping: CompiledMapping, source: Catalog): TestResult {
  const faults: Finding[] = [];
  const fault: Tell = (message, place, code = 'CF-4005') => {
    const { line, column } = place;
    const { remedy } = catalogue[code];
    faults.push({ severity: 'error', code, message: `${test.name}: ${message}`, remedy, path: test.path, line, column });
  };
  const found = findTable(test, mapping, source, fault);
  if (found === undefined) return { test, faults };
  const row = readGiven(test, found.source, fault);
  if (faults.length > 0) return { test, faults };
  const outcome = mapRow(found.tables, row);
  if (outcome.kind === 'refused') checkRefused(test, outcome, fault);
  else if (test.error !== undefined) fault(`expected an error, got ${countRows(outcome.rows.length)}`, test.error);
  else checkRows(test, { rows: outcome.rows, tables: found.tables }, fault);
  return { test, faults, row, tables: found.tables };
}

type Tell = (message: string, place: Place, code?: ErrorCode) => void;

interface FoundTable {
  readonly tables: readonly TableMapping[];
  readonly source: CatalogTable;
}

// oxlint-disable-next-line max-params -- one test, and where it is looked up
function findTable(test: MappingTest, mapping: CompiledMapping, source: Catalog, fault: Tell): FoundTable | undefined {
  const wanted = parseTablePattern(test.from);
  const tables = mapping.tables.filter(({ from }) => wanted !== undefined && tableId(from) === tableId(wanted));
  const columns = tables[0] && source.tables.find((one) => tableId(one) === tableId(tables[0]!.from));
  if (columns !== undefined) return { tables, source: columns };
  const names = mapping.tables.map(({ from }) => showTable(from));
  fault(`the file maps no table ${test.from}${didYouMean(test.from, names)}`, test, 'CF-1008');
  return undefined;
}

/** As the source would print the row; what is not named is null. */
function readGiven(test: MappingTest, table: CatalogTable, fault: Tell): SourceRow {
  const row = new Map<string, string | null>(table.columns.map(({ name }) => [name, null]));
  for (const [name, value] of test.given) {
    const column = table.columns.find((one) => one.name === name);
    if (column === undefined) {
      fault(`${showTable(table)} has no column "${name}"${didYouMean(name, row.keys())}`, value, 'CF-1008');
      continue;
    }
    const text = value.text === null ? null : sourceText(column, value.text);
    if (text === undefined) fault(`"${name}": ${shown(value.text)} is no ${column.type}`, value);
    else row.set(name, text);
  }
  return row;
}

function checkRefused(test: MappingTest, { code, message }: { readonly code: string; readonly message: string }, fault: Tell): void {
  if (test.error === undefined) {
    fault(`the row is refused: ${code} ${message}`, test.expect?.[0] ?? test);
    return;
  }
  const text = test.error.text ?? '';
  if (/^CF-\d{4}$/.test(text) ? code === text : message.includes(text)) return;
  fault(`expected an error with ${shown(text)}, got ${code} ${message}`, test.error);
}

interface Came {
  readonly rows: readonly MappedRow[];
  readonly tables: readonly TableMapping[];
}

function checkRows(test: MappingTest, { rows, tables }: Came, fault: Tell): void {
  const expected = test.expect ?? [];
  const left = [...rows];
  for (const want of expected) {
    // Of several rows for one table the one that fits best; without a name the row that is there.
    const fitting = left.filter(({ to }) => want.to === undefined || showTable(to) === want.to);
    const [best] = fitting.toSorted((a, b) => differences(want, a, tables).length - differences(want, b, tables).length);
    if (best === undefined) {
      fault(`expected a row${want.to === undefined ? '' : ` of ${want.to}`}, got ${describe(rows)}`, want);
      continue;
    }
    left.splice(left.indexOf(best), 1);
    for (const { message, place } of differences(want, best, tables)) fault(message, place);
  }
  if (left.length > 0) fault(`expected ${countRows(expected.length)}, got ${countRows(rows.length)}`, expected[0] ?? test);
}

interface Difference {
  readonly message: string;
  readonly place: PlacedValue;
}

function differences(want: ExpectedRow, { to, values }: MappedRow, tables: readonly TableMapping[]): Difference[] {
  const table = tables.find((one) => tableId(one.to) === tableId(to))!;
  return [...want.columns].flatMap(([name, place]): Difference[] => {
    const type = typeOf(table, name);
    const got = values.get(name);
    if (got === undefined) {
      return [{ message: `nothing goes to column "${name}" of ${showTable(to)}${didYouMean(name, values.keys())}`, place }];
    }
    if (got === SERVER_ONLY) {
      const message = `"${name}" is cast to ${type.targetType} by the server, and what comes of this value is not known without one: leave it out of expect, or compute it under set`;
      return [{ message, place }];
    }
    if (sameTargetValue(type, place.text, got)) return [];
    return [{ message: `"${name}": expected ${shown(place.text)}, got ${shown(got)}`, place }];
  });
}

/** Also of the column that tells deleted rows from others. */
function typeOf({ columns, deletes, explode }: TableMapping, name: string): Pick<ColumnMapping, 'targetType' | 'targetBaseType'> {
  const type = (typeof deletes === 'object' ? deletes.flag?.type : undefined) ?? 'text';
  const made = [...(explode?.parts ?? []), ...(explode?.ordinal === undefined ? [] : [explode.ordinal])];
  return [...columns, ...made].find(({ target }) => target === name) ?? { targetType: type, targetBaseType: type };
}

function describe(rows: readonly MappedRow[]): string {
  return rows.length === 0 ? 'none: the row is left out' : rows.map(({ to }) => showTable(to)).join(', ');
}

function countRows(count: number): string {
  return count === 0 ? 'none' : `${count} ${count === 1 ? 'row' : 'rows'}`;
}

const SHOWN_MAX = 200;

function shown(text: string | null): string {
  if (text === null) return 'null';
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}
