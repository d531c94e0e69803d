/**
 * One table's entry of the reverse file. Guarantee: a value of the target that no value of the source comes to is refused on its way back,
 * never rounded, cut or guessed at; and what the filter keeps from the target is not written by what comes back.
 */
import type { ColumnEntry, FilterEntry, SetEntry, TableEntry } from '#schemas/config/migration-file.ts';
import type { StepBlock } from '#schemas/config/step-schema.ts';
import type { CatalogColumn, CatalogTable } from '#schemas/table.ts';
import type { FilterCondition, TableMapping } from '../compiled-mapping.ts';
import { mappedWay, wayOf, type LostColumn } from '../inverse/invert-table.ts';
import { numericSize } from '../type-modifier.ts';
import { showTable } from '../table-pattern.ts';
import { fitTypes, underDomain, type TypeWorld } from '../type-fit.ts';

export interface ReverseInput {
  readonly table: TableMapping;
  /** The forward entry. */
  readonly written: TableEntry;
  readonly source: CatalogTable;
  readonly target: CatalogTable;
  /** From target to source. */
  readonly world: TypeWorld;
}

export type ReverseEntryMade = { readonly entry: TableEntry; readonly lost: readonly LostColumn[] } | { readonly why: string };

interface Parts {
  readonly columns: Record<string, ColumnEntry>;
  readonly set: Record<string, SetEntry>;
  readonly where: Record<string, FilterEntry>;
  readonly lost: LostColumn[];
  /** Column of `where`. */
  scope?: string;
}

export function reverseEntry(input: ReverseInput): ReverseEntryMade {
  const { table, written, source } = input;
  const parts: Parts = { columns: {}, set: {}, where: {}, lost: [] };
  const declared = written.reverse?.mode === 'set' ? written.reverse.set : {};
  const unknown = Object.keys(declared).find((name) => !source.columns.some((column) => column.name === name));
  if (unknown !== undefined) return { why: `\`reverse\` sets "${unknown}", which ${showTable(source)} does not have` };
  for (const column of source.columns) {
    if (Object.hasOwn(declared, column.name)) put(parts.set, column.name, declared[column.name]!);
    else if (column.generated === '') addColumn(column, input, parts);
  }
  const filter = addFilter(input, parts, declared);
  if (filter !== undefined) return { why: filter };
  const key = parts.lost.find(({ column }) => table.sourceKey.includes(column));
  if (key !== undefined) return { why: `the key column "${key.column}" is lost: ${key.why}` };
  const needed = parts.lost.find(({ column: name }) => isNeeded(source.columns.find((column) => column.name === name)!));
  if (needed !== undefined) return { why: `"${needed.column}" of the source is NOT NULL without a default, and is lost: ${needed.why}` };
  addDrops(input, parts);
  return { entry: entryOf(input, parts), lost: parts.lost };
}

function entryOf({ table, written: { line, column } }: ReverseInput, { columns, set, where, scope }: Parts): TableEntry {
  return {
    from: showTable(table.to),
    to: showTable(table.from),
    exclude: [],
    columns,
    ...(Object.keys(set).length > 0 && { set }),
    ...(Object.keys(where).length > 0 && { where }),
    ...(scope !== undefined && { scope }),
    unmapped: 'ignore',
    existing: 'merge',
    ...(table.truncates !== undefined && { truncates: table.truncates }),
    ...(table.onRowError !== undefined && { onRowError: table.onRowError }),
    line,
    column,
  };
}

/** A new row of the source has no value for it. */
function isNeeded({ notNull, hasDefault, identity }: CatalogColumn): boolean {
  return notNull && !hasDefault && identity === '';
}

function addColumn(column: CatalogColumn, input: ReverseInput, parts: Parts): void {
  const { table, target, written } = input;
  const mapped = mappedWay(column, table);
  const way = 'why' in mapped ? wayOf(column, table) : mapped;
  if ('why' in way) {
    parts.lost.push({ column: column.name, why: way.why });
    return;
  }
  const place = { line: written.line, column: written.column };
  if ('value' in way) {
    put(parts.set, column.name, { from: [], value: way.value, ...secretOf(written, column.name), steps: [], ...place });
    return;
  }
  const steps =
    way.steps ??
    stepsBack(
      column,
      target.columns.find(({ name }) => name === way.from)!,
      input.world,
    );
  if (steps !== undefined && steps.length > 0) {
    put(parts.set, column.name, { from: [way.from], steps: steps.map((step) => ({ step, ...place })), ...place });
    return;
  }
  const from = target.columns.find(({ name }) => name === way.from)!;
  const cast = fitTypes(from, column, input.world).kind === 'no' ? { cast: column.type } : {};
  put(parts.columns, way.from, { to: column.name, ...cast, drop: false, ...place });
}

function secretOf({ where }: TableEntry, name: string): { readonly fromEnvironment?: true } {
  return where?.[name]?.fromEnvironment === true ? { fromEnvironment: true } : {};
}

const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);
const TEXTS: ReadonlySet<string> = new Set(['text', 'character varying']);

/** From a type that holds more: PostgreSQL's own cast would round or cut. Undefined: it would not. */
function stepsBack(column: CatalogColumn, from: CatalogColumn, world: TypeWorld): readonly StepBlock[] | undefined {
  if (fitTypes(from, column, world).kind !== 'no') return undefined;
  const [plain, given] = [underDomain(column), underDomain(from)];
  const size = plain.baseType === 'numeric' ? numericSize(plain.typmod) : undefined;
  if (given.baseType === 'numeric' && WHOLE.has(plain.baseType)) return [{ decimal: { scale: 0 } }];
  if (given.baseType === 'numeric' && size !== undefined && size.scale >= 0) return [{ decimal: { scale: size.scale } }];
  if (!TEXTS.has(given.baseType)) return undefined;
  // Nothing is done to it, and the column's own length is looked at.
  if (TEXTS.has(plain.baseType)) return [{ coalesce: true }];
  const scaled = size === undefined ? plain.baseType : `numeric(${size.precision},${size.scale})`;
  return plain.builtin ? [{ cast: { to: scaled, onError: 'fail' } }] : undefined;
}

/**
 * What the forward filter leaves out belongs to others: their rows on the target, where it has the column, are not for this way back. Rows
 * that were softly deleted are not there on the source, nor are those of which only other source tables have their part.
 * @returns why it cannot be told
 */
function addFilter({ table, written }: ReverseInput, parts: Parts, declared: object): string | undefined {
  const { where, columns, lost, set } = parts;
  const place = { line: written.line, column: written.column };
  for (const condition of table.filter?.conditions ?? []) {
    const mapped = Object.entries(columns).find(([, { to }]) => to === condition.column);
    if (mapped !== undefined && condition.column === table.scope?.by) parts.scope = mapped[0];
    if (mapped !== undefined) put(where, mapped[0], { ...conditionOf(condition), ...secretOf(written, condition.column), ...place });
    else if (lost.some(({ column }) => column === condition.column))
      return `"${condition.column}" says which rows are moved, and is lost on the way`;
    else if (set[condition.column]?.value === undefined && !Object.hasOwn(declared, condition.column))
      return `"${condition.column}" says which rows are moved, and is computed on the way`;
  }
  const witness = table.merge?.witness;
  if (witness !== undefined) put(where, witness, { ...besidesNull(Object.hasOwn(where, witness) ? where[witness] : undefined), ...place });
  if (table.deletes === undefined || table.deletes === 'ignore') return undefined;
  const { flag, at } = table.deletes;
  if (flag !== undefined) put(where, flag.column, { op: 'in', values: [flag.alive], ...place });
  else if (at !== undefined) put(where, at.column, { op: 'in', values: [null], ...place });
  return undefined;
}

/** Besides what is asked of the column. */
function besidesNull(asked: FilterEntry | undefined): FilterEntry {
  if (asked?.op === 'in') return { ...asked, values: asked.values.filter((value) => value !== null) };
  return { ...asked, op: 'not-in', values: [...(asked?.values ?? []).filter((value) => value !== null), null] };
}

function conditionOf({ op, values }: FilterCondition): FilterEntry {
  return { op, values };
}

/** A column of the target goes nowhere by its mere name. */
function addDrops({ source, target, written: { line, column } }: ReverseInput, { columns }: Parts): void {
  const names = new Set(source.columns.map(({ name }) => name));
  for (const { name } of target.columns)
    if (!Object.hasOwn(columns, name) && names.has(name)) put(columns, name, { drop: true, line, column });
}

/** Names are the users'. */
function put<T>(into: Record<string, T>, name: string, value: T): void {
  Object.defineProperty(into, name, { value, enumerable: true, configurable: true, writable: true });
}
