/**
 * The compiled mapping: what the file means for these two catalogues. Guarantee: transformer, sink, reader (which columns),
 * verify and repair take the meaning of the file from here and nowhere else.
 *
 * A column's value passes as the source's own text. A declared cast is PostgreSQL's own cast and is computed by a server: the
 * sink applies it in SQL on the way in, verify applies the same expression to the source. So the TypeScript side is a pure
 * projection and filter of text values, and for computed columns (`steps`) a pure function of them.
 */
import type { CatalogColumn } from '../table.ts';
import type { KeyMapColumn } from './key-map.ts';
import type { KeyTemplate } from './redis/key-template.ts';
import type { TableSteps } from './steps/table-steps.ts';

export interface ColumnMapping {
  readonly target: string;
  /** Target column's type with and without modifier, as SQL. */
  readonly targetType: string;
  readonly targetBaseType: string;
  /** What the type of a computed column rests on, where it is a domain. */
  readonly targetUnderDomain?: string;
  /** Of a computed column (see `TableMapping.steps`) no column of the source, but the text that comes out of its steps. */
  readonly source: CatalogColumn;
  /** Undefined: the source's text is read by the target type's input function. */
  readonly cast?: ColumnCast;
  /** The column holds ids that stand for the source's keys: `cast` looks them up. */
  readonly keyMap?: KeyMapColumn;
}

export interface ColumnCast {
  /** Type that the source text is read as before the cast (source base type when built in, else text). */
  readonly fromType: string;
  /** SQL with `$$` where the value stands, e.g. `($$)::numeric(12,2)` or `($$ AT TIME ZONE 'Europe/Berlin')`. */
  readonly sql: string;
  /** The same where rows are only looked for; absent: `sql`. */
  readonly inCondition?: string;
}

export type DeletePolicy = 'ignore' | SoftDelete;

/** At least one of the two. */
export interface SoftDelete {
  readonly flag?: SoftFlag;
  readonly at?: SoftTime;
}

/** Column of the target with one value on deleted rows and another on all others, in its type's canonical text. */
export interface SoftFlag {
  readonly column: string;
  readonly dead: string;
  readonly alive: string | null;
  /** As SQL, without a modifier. */
  readonly type: string;
}

/** Column of the target with the commit time of the deleting transaction (of type timestamp: in UTC); null on all other rows. */
export interface SoftTime {
  readonly column: string;
  /** False: of type timestamp. */
  readonly zoned: boolean;
}

/** Which row stays where others write the target too: the source's, the target's, or the newer by a column of the target (equal: the source's). */
export type ConflictPolicy = 'source-wins' | 'target-wins' | { readonly version: string };

export type ExistingPolicy = 'refuse' | 'merge' | 'truncate';

export interface TableMapping {
  readonly from: { readonly schema: string; readonly name: string };
  readonly to: { readonly schema: string; readonly name: string };
  /** Other names that `from` bears while the other side serves: the log knows it by them, too. */
  readonly formerly?: readonly TableName[];
  /** Written columns, in the source's order (so that rows of a table moved as it is pass without being taken apart). */
  readonly columns: readonly ColumnMapping[];
  /** Source columns that identify a row in the stream (design §2); empty = keyless. */
  readonly sourceKey: readonly string[];
  /** Target columns that the upsert conflicts on, same order as sourceKey; empty = keyless. */
  readonly targetKey: readonly string[];
  /** Some target identity column is GENERATED ALWAYS: inserts say OVERRIDING SYSTEM VALUE. */
  readonly overridesIdentity: boolean;
  readonly filter?: RowFilter;
  /** Rows of the target that are its own; absent: as `share` says. */
  readonly scope?: RowScope;
  /** Constants that tell this pair's rows of the target from those of other source tables; absent: all rows are its own. */
  readonly share?: readonly ShareColumn[];
  /** Other source tables feed other columns of the same rows; absent: a row of the target is one row of this source table. */
  readonly merge?: MergedRows;
  /** Rows of the target are the elements of an array, which is the last of `columns`; absent: a row is a row. */
  readonly explode?: Explode;
  /** What computes the last of `columns`; absent = every value passes as it is. */
  readonly steps?: TableSteps;
  readonly existing: ExistingPolicy;
  /** What becomes of a row that the source deletes: it goes (absent), it stays as it is, or it stays and is marked. */
  readonly deletes?: DeletePolicy;
  /** What a TRUNCATE of the source does: it takes the rows as their deletes would (absent), nothing, or it halts the table. */
  readonly truncates?: 'ignore' | 'halt';
  /** Others may write the rows too; absent: whatever stands there is overwritten, and nothing is counted. */
  readonly conflict?: ConflictPolicy;
  /** What becomes of a row that the target refuses: it halts its table (absent), or is set aside and blocks its key only. */
  readonly onRowError?: 'set-aside';
  /** Source columns that the file drops or ignores, or that are generated. */
  readonly dropped: readonly string[];
  /** What a column added to the source later means: it halts the table (absent), or it is left out. */
  readonly unmapped?: 'error' | 'ignore';
  /** Set where the target is Redis. */
  readonly redis?: RedisMapping;
  /** What the file says of its way back; absent: that follows from the mapping. */
  readonly reverse?: DeclaredReverse;
}

/** `digest`: of everything that decides what the declared columns come back as. */
export type DeclaredReverse = { readonly mode: 'none' } | { readonly mode: 'set'; readonly digest: string };

/**
 * Rows that an array of a source row becomes: its children. `TableMapping.columns` are then the columns of the parent's key and, under a name
 * that no column has, the array; `targetKey` finds all children of a parent.
 */
export interface Explode {
  readonly array: ArrayKind;
  /** Source column. */
  readonly name: string;
  readonly parts: readonly ExplodedPart[];
  /** Gets the element's place in the array, from 1 on. */
  readonly ordinal?: Pick<ColumnMapping, 'target' | 'targetType' | 'targetBaseType'>;
  /** Columns that tell one parent's children apart: with `targetKey` they are a unique key of the target. */
  readonly key: readonly string[];
}

/** `array`: one of PostgreSQL's own, of any type. */
export type ArrayKind = 'json' | 'jsonb' | 'array';

/** A column that an element feeds. `source` is what the element, or its field, is read as: text, of JSON. */
export interface ExplodedPart extends ColumnMapping {
  /** Of an element that is a JSON object; absent: the element itself. */
  readonly path?: readonly string[];
}

/** Told by a column that source and target have in common. */
export interface RowScope {
  /** Source column; the condition on it is one of `TableMapping.filter`. */
  readonly by: string;
  /** The same condition on the target's column. */
  readonly rows: RowFilter;
}

/** A column of the target's key that the file sets to a constant. */
export interface ShareColumn {
  readonly target: string;
  /** Without its modifier. */
  readonly type: string;
  readonly value: string;
}

/** Rows that are put together from several source tables. Columns of the target. */
export interface MergedRows {
  /** Null exactly where this source table has no row. */
  readonly witness: string;
  /** The witnesses of the others. */
  readonly others: readonly string[];
}

/** How the rows of a table stand in Redis. Templates name target columns. */
export interface RedisMapping {
  readonly key: KeyTemplate;
  readonly form: 'hash' | 'json';
  readonly ttlSeconds?: number;
  readonly sets: readonly KeyTemplate[];
}

/** Conjunction of conditions over source columns, on their text form. `null` in `values` matches NULL. */
export interface RowFilter {
  readonly conditions: readonly FilterCondition[];
}

export interface FilterCondition {
  readonly column: string;
  readonly op: 'in' | 'not-in';
  /** In the type's canonical text form. */
  readonly values: readonly (string | null)[];
  /** Type by which a server may compare (and use an index) instead of by text. */
  readonly type?: string;
}

export interface CompiledMapping {
  readonly name: string;
  /** sha256 of the canonical JSON of everything that changes a row's target form. */
  readonly hash: string;
  readonly tables: readonly TableMapping[];
  /** Of a file whose cut-over swaps names: `tables` has those that they bear now, and here are those of the file. */
  readonly renamed?: { readonly named: CompiledMapping; readonly renames: Renames };
}

export interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** Where tables stand that are not where the file has them. */
export type Renames = readonly Rename[];

export interface Rename {
  /** As the file has it. */
  readonly named: TableName;
  readonly now: TableName;
}

/** Columns of the source that a table's image is made of, filter and key left aside. */
export function sourceColumns({ columns, steps }: TableMapping): readonly CatalogColumn[] {
  const direct = columns.filter((_, i) => !isComputed(steps, i)).map((column) => column.source);
  return steps === undefined ? direct : [...direct, ...steps.inputs.filter((input) => !direct.some((one) => one.name === input.name))];
}

/** `column` is an index in the mapping's columns. */
export function isComputed(steps: TableSteps | undefined, column: number): boolean {
  return steps !== undefined && column >= steps.computed[0]!.column;
}

/** Map key for a table: schema and name joined by a character no identifier of ours can confuse. */
export function tableId(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}\u0001${table.name}`;
}

/** A source table and one of the targets that it goes to. */
export type Pair = Pick<TableMapping, 'from' | 'to'>;

/** Map key for a pair: what state, progress and verdicts are kept by. */
export function pairId({ from, to }: Pair): string {
  return `${tableId(from)}\u0001${tableId(to)}`;
}

/** Mappings by their source table: a table may go to several targets. */
export function bySource<T extends Pick<TableMapping, 'from'>>(tables: readonly T[]): Map<string, T[]> {
  return Map.groupBy(tables, ({ from }) => tableId(from));
}
