/**
 * Columns of one table: which go where, and how. Guarantee: without a finding, every source column is mapped (here, or by another entry for
 * the same table), dropped by the file or generated; every mapped value either passes with its text unchanged or by a cast that both servers compute; every target column
 * that cannot be left empty is fed.
 */
import type { ColumnEntry } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import { quoteIdent, quoteTable, type CatalogColumn } from '../table.ts';
import type { ColumnMapping } from './compiled-mapping.ts';
import { compileCast } from './compile-cast.ts';
import { markedColumns } from './compile-deletes.ts';
import { compileComputed, entriesOf, tableSteps } from './compile-computed.ts';
import type { FilePlace, FindingList } from './finding-list.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import type { UserFunctions } from './steps/user-function.ts';
import type { TableSteps } from './steps/table-steps.ts';
import type { SurrogateKeys } from './surrogate-keys.ts';
import { showTable } from './table-pattern.ts';
import type { TypeWorld } from './type-fit.ts';

export interface ColumnContext {
  readonly resolved: ResolvedTable & { readonly target: NonNullable<ResolvedTable['target']> };
  readonly world: TypeWorld;
  readonly list: FindingList;
  /** The same source table on its way to other targets. */
  readonly siblings: readonly ResolvedTable[];
  /** Columns whose values become ids on the target. */
  readonly keys: SurrogateKeys;
  /** That steps call. */
  readonly functions?: UserFunctions | undefined;
}

export interface CompiledColumns {
  readonly columns: readonly ColumnMapping[];
  readonly dropped: readonly string[];
  readonly steps?: TableSteps;
}

export function compileColumns(context: ColumnContext): CompiledColumns {
  const { source } = context.resolved;
  const columns: ColumnMapping[] = [];
  const dropped: string[] = [];
  const fed = new Map<string, string>();
  const set = new Map(entriesOf(context).map(([target, entry]) => [target.name, entry]));
  const marks = new Set(markedColumns(context.resolved.entry));
  const read = new Set([...set.values()].flatMap((entry) => entry.from));
  for (const column of source.columns) {
    const entry = entryOf(context, column.name);
    // Named nowhere but under `set`: it goes where that sends it.
    const onlyRead = read.has(column.name) && (entry === undefined || entry.drop) && (set.has(column.name) || !hasTarget(column, context));
    const target = entry?.drop === true || onlyRead ? undefined : findTarget(column, entry, context);
    if (target === undefined) {
      if (!read.has(column.name)) dropped.push(column.name);
      continue;
    }
    if (set.has(target.name)) {
      reportComputed(column, target, context);
      continue;
    }
    const other = fed.get(target.name);
    if (other !== undefined) {
      context.list.error(
        'CF-4001',
        `columns "${other}" and "${column.name}" of ${showTable(source)} both go to "${target.name}"`,
        entry ?? context.resolved.entry,
        'Rename or drop one of them.',
      );
      continue;
    }
    fed.set(target.name, column.name);
    const mapped = mapColumn(column, target, entry, context);
    if (mapped !== undefined) columns.push(mapped);
  }
  const computed = compileComputed(context);
  for (const target of context.resolved.target.columns) {
    if (set.has(target.name)) checkWritable(target, set.get(target.name)!, context);
    else if (!fed.has(target.name) && !marks.has(target.name)) checkUnfed(target, context);
  }
  const steps = tableSteps(computed, columns.length, context.functions);
  return { columns: [...columns, ...computed.columns], dropped, ...(steps !== undefined && { steps }) };
}

function hasTarget(column: CatalogColumn, { resolved }: ColumnContext): boolean {
  return resolved.target.columns.some((target) => target.name === column.name);
}

/** A source column that would go by its name to a column which the file computes, and not from it. */
function reportComputed(column: CatalogColumn, target: CatalogColumn, { resolved, list }: ColumnContext): void {
  const entry = Object.hasOwn(resolved.entry.columns, column.name) ? resolved.entry.columns[column.name] : undefined;
  list.error(
    'CF-4001',
    `column "${column.name}" of ${showTable(resolved.source)} goes to "${target.name}", which \`set\` computes without it`,
    entry ?? resolved.entry,
    `Write \`drop: [${column.name}]\`, or send it to another column.`,
  );
}

export function entryOf({ resolved }: ColumnContext, name: string): ColumnEntry | undefined {
  const { columns } = resolved.entry;
  return Object.hasOwn(columns, name) ? columns[name] : undefined;
}

/** The target column that this one feeds; undefined when it is left out (which is reported where it is not the file's will). */
export function findTarget(column: CatalogColumn, entry: ColumnEntry | undefined, context: ColumnContext): CatalogColumn | undefined {
  const { target, source, entry: table } = context.resolved;
  const wanted = entry?.to ?? column.name;
  const found = target.columns.find((one) => one.name === wanted);
  if (column.generated !== '') return findForGenerated(column, found, entry, context);
  if (found === undefined) {
    const names = target.columns.map((one) => one.name);
    if (entry?.to !== undefined) {
      context.list.error('CF-1008', `${showTable(target)} of the target has no column "${wanted}"${didYouMean(wanted, names)}`, entry);
    } else if (table.unmapped === 'error' && !context.siblings.some((one) => decides(one, column.name))) {
      const remedy = `Under columns write \`${column.name}: NEW_NAME\`, or \`drop: [${column.name}]\`; \`unmapped: ignore\` leaves out all such columns.`;
      context.list.error(
        'CF-4001',
        `column "${column.name}" of ${showTable(source)} has no column of that name in ${showTable(target)}${didYouMean(wanted, names)}`,
        entry ?? table,
        remedy,
      );
    }
    return undefined;
  }
  if (found.generated !== '') {
    const remedy = `Write \`drop: [${column.name}]\`: the target computes its own value.`;
    context.list.error(
      'CF-4001',
      `column "${found.name}" of ${showTable(target)} is generated and cannot be written`,
      entry ?? table,
      remedy,
    );
    return undefined;
  }
  return found;
}

/** True when that entry says what becomes of the column: its place, be it in what a computed column is made of, or that it has none. */
export function decides({ entry, target }: ResolvedTable, name: string): boolean {
  if (entry.explode !== undefined) return entry.explode.array === name;
  if (Object.values(entry.set ?? {}).some(({ from }) => from.includes(name))) return true;
  const own = Object.hasOwn(entry.columns, name) ? entry.columns[name] : undefined;
  if (own?.drop === true) return true;
  return own?.to !== undefined || target?.columns.some((column) => column.name === name) === true;
}

/** Generated columns are not in the stream: the target computes its own, or has none. */
function findForGenerated(
  column: CatalogColumn,
  found: CatalogColumn | undefined,
  entry: ColumnEntry | undefined,
  context: ColumnContext,
): undefined {
  const { source, target, entry: table } = context.resolved;
  if (found === undefined ? entry?.to === undefined : found.generated !== '') return undefined;
  const remedy = `Make the target column generated too, or write \`drop: [${column.name}]\`.`;
  context.list.error(
    'CF-4001',
    `column "${column.name}" of ${showTable(source)} is generated, so its changes are not in the stream; ${showTable(target)} expects a value`,
    entry ?? table,
    remedy,
  );
  return undefined;
}

export function mapColumn(
  column: CatalogColumn,
  target: CatalogColumn,
  entry: ColumnEntry | undefined,
  context: ColumnContext,
): ColumnMapping | undefined {
  const mapped = context.keys.of(context.resolved, column, target);
  if (mapped === 'refused') return undefined;
  const cast = mapped === undefined ? compileCast({ column, target, entry, context }) : mapped.cast;
  if (cast === 'refused') return undefined;
  const place = entry ?? context.resolved.entry;
  checkWritable(target, place, context);
  if (target.notNull && !column.notNull) {
    const remedy = `Run on the source: ALTER TABLE ${quoteTable(context.resolved.source)} ALTER COLUMN ${quoteIdent(column.name)} SET NOT NULL; or allow NULL on the target.`;
    context.list.warning(
      'CF-4001',
      `"${target.name}" of ${showTable(context.resolved.target)} is NOT NULL, "${column.name}" of ${showTable(context.resolved.source)} is not: a row with NULL would halt the table`,
      place,
      remedy,
    );
  }
  return {
    target: target.name,
    targetType: target.type,
    targetBaseType: target.baseType,
    source: column,
    ...(cast !== undefined && { cast }),
    ...(mapped !== undefined && { keyMap: mapped.keyMap }),
  };
}

/** An identity column that is GENERATED ALWAYS can be inserted, but never updated to a given value. */
function checkWritable(target: CatalogColumn, place: FilePlace, { resolved, list }: ColumnContext): void {
  if (target.identity !== 'a' || isKeyColumn(target.name, resolved.target)) return;
  const remedy = `Run on the target: ALTER TABLE ${quoteTable(resolved.target)} ALTER COLUMN ${quoteIdent(target.name)} SET GENERATED BY DEFAULT;`;
  list.error(
    'CF-4001',
    `"${target.name}" of ${showTable(resolved.target)} is GENERATED ALWAYS AS IDENTITY and no key, so updates cannot write it`,
    place,
    remedy,
  );
}

function isKeyColumn(name: string, table: ColumnContext['resolved']['target']): boolean {
  return [table.primaryKey, ...table.uniqueKeys].some((key) => key?.columns.includes(name) === true);
}

export function checkUnfed(target: CatalogColumn, { resolved, list }: ColumnContext): void {
  if (!target.notNull || target.hasDefault || target.generated !== '' || target.identity !== '') return;
  const remedy = `Map a source column to it, or run on the target: ALTER TABLE ${quoteTable(resolved.target)} ALTER COLUMN ${quoteIdent(target.name)} DROP NOT NULL; (or SET DEFAULT …)`;
  list.error(
    'CF-4001',
    `"${target.name}" of ${showTable(resolved.target)} is NOT NULL without a default, and no column of ${showTable(resolved.source)} goes to it`,
    resolved.entry,
    remedy,
  );
}
