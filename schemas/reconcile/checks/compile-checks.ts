/**
 * `checks:` of the file against the two catalogues, and the built-in ones. Guarantee: what is planned can be evaluated (its tables are filled,
 * its columns can be asked for on both sides), and all that cannot is told at once, each at its place with the nearest name.
 */
import type { CheckEntry } from '#schemas/config/check-entry.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { keepsUnmarked } from '#schemas/mapping/kept-rows.ts';
import { parseTablePattern, showTable } from '#schemas/mapping/table-pattern.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import type { Catalog } from '#schemas/table.ts';
import type { Finding } from '#schemas/errors.ts';
import { mappedForeignKeys } from './foreign-keys.ts';
import { compileQuery } from './compile-query.ts';
import type { CheckView, MappedForeignKey, OrphanCheck, PlannedCheck, QueryCheck, ResultColumn, TableName } from './planned-check.ts';
import { childrenSql, rangeSql, sampleSql, sumSql } from './query-sql.ts';
import { classOf, type Fit, MOMENTS, pairsFor, whyNot, whyNoView } from './view-columns.ts';

export interface CompiledChecks {
  /** The file's, then the built-in ones. */
  readonly checks: readonly PlannedCheck[];
  readonly foreignKeys: readonly MappedForeignKey[];
  readonly findings: readonly Finding[];
}

interface ChecksIn {
  readonly path: string;
  readonly checks?: readonly CheckEntry[];
}

export function compileChecks(
  { path, checks = [] }: ChecksIn,
  { tables }: Pick<CompiledMapping, 'tables'>,
  catalogs: { readonly source: Catalog; readonly target: Catalog },
): CompiledChecks {
  const fit: Fit = { tables, ...catalogs };
  const list = new FindingList(path);
  const foreignKeys = mappedForeignKeys(fit, catalogs);
  const declared = checks.flatMap((entry) => new EntryCompiler(entry, { fit, foreignKeys, list }).compile() ?? []);
  const orphans = foreignKeys.flatMap((key) => orphanCheck(fit, key) ?? []);
  return { checks: [...declared, ...orphans], foreignKeys, findings: list.findings };
}

/** Rows that the file keeps beyond their time refer to what may be gone. */
function orphanCheck(fit: Fit, foreignKey: MappedForeignKey): OrphanCheck | undefined {
  const { child, columns, parent, parentColumns } = foreignKey;
  const [children, parents] = [child, parent].map((table) => fit.tables.filter(({ to }) => tableId(to) === tableId(table))) as [
    TableMapping[],
    TableMapping[],
  ];
  if ([...children, ...parents].some((pair) => keepsUnmarked(pair))) return undefined;
  const views = [
    { pairs: pairsFor(children, columns), columns },
    { pairs: pairsFor(parents, parentColumns), columns: parentColumns },
  ] as const;
  const asked = views.every(
    (view) =>
      view.pairs.length > 0 &&
      whyNoView(view.pairs) === undefined &&
      view.pairs.every((pair) => view.columns.every((column) => whyNot(fit, pair, column) === undefined)),
  );
  const name = `${showTable(child)} (${columns.join(', ')}) → ${showTable(parent)}`;
  return { kind: 'orphans', name, foreignKey, pairs: [...children, ...parents], ...(asked && { views }) };
}

interface Compiling {
  readonly fit: Fit;
  readonly foreignKeys: readonly MappedForeignKey[];
  readonly list: FindingList;
}

/** A reference from child to parent, in the target's columns. */
interface Reference {
  readonly parent: TableName;
  readonly columns: readonly string[];
  readonly parentColumns: readonly string[];
}

class EntryCompiler {
  readonly #entry: CheckEntry;
  readonly #fit: Fit;
  readonly #foreignKeys: readonly MappedForeignKey[];
  readonly #list: FindingList;
  #wrong = 0;

  constructor(entry: CheckEntry, { fit, foreignKeys, list }: Compiling) {
    this.#entry = entry;
    this.#fit = fit;
    this.#foreignKeys = foreignKeys;
    this.#list = list;
  }

  /** Undefined: something is wrong with it, and told. */
  compile(): PlannedCheck | undefined {
    const entry = this.#entry;
    if (entry.kind === 'sql') return compileQuery(entry, this.#fit, (message, key) => this.#error(message, key));
    const pairs = this.#table(entry.table!, 'table');
    if (pairs === undefined) return undefined;
    const planned = this.#compileKind(pairs);
    return this.#wrong > 0 ? undefined : planned;
  }

  #compileKind(pairs: readonly TableMapping[]): PlannedCheck | undefined {
    const entry = this.#entry;
    const base = { name: entry.name, tolerance: entry.tolerance } as const;
    switch (entry.kind) {
      case 'sum': {
        const view = this.#view(pairs, { groupBy: entry.groupBy, sum: entry.columns });
        const { to } = pairs[0]!;
        for (const column of entry.columns) {
          const { kind, type } = classOf(this.#fit, to, column);
          const isThere = view.pairs.every((pair) => whyNot(this.#fit, pair, column) === undefined);
          if (isThere && kind !== 'number') this.#error(`"${column}" of ${showTable(to)} has the type ${type}, which has no sum`, 'sum');
        }
        const columns = [...entry.groupBy.map(plain), ...entry.columns.map((one) => number(`sum(${one})`))];
        const sql: QueryCheck['sql'] = ([from]) => sumSql(from!, entry.groupBy.length, entry.columns.length);
        return { kind: 'sum', ...base, views: [view], keys: entry.groupBy.length, columns, sql };
      }
      case 'range':
        return { kind: 'range', ...base, ...this.#range(pairs, entry) };
      case 'children':
        return this.#children(pairs, entry);
      case 'sample':
        return this.#sample(pairs, entry);
      default:
        return undefined;
    }
  }

  #range(
    pairs: readonly TableMapping[],
    { minMax, nulls }: Extract<CheckEntry, { kind: 'range' }>,
  ): Pick<QueryCheck, 'views' | 'keys' | 'columns' | 'sql'> {
    const view = this.#view(pairs, { minMax, nulls });
    const classes = minMax.map((column) => classOf(this.#fit, pairs[0]!.to, column));
    const types = classes.map(({ kind, type }) => (kind === 'number' ? 'numeric' : MOMENTS.has(type) ? type : undefined));
    const ends = minMax.flatMap((column, i) =>
      ['min', 'max'].map((end): ResultColumn => ({
        label: `${end}(${column})`,
        shown: classes[i]!.kind !== 'other',
        numeric: classes[i]!.kind === 'number',
      })),
    );
    const columns = [...ends, ...nulls.map((column) => number(`nulls(${column})`))];
    return { views: [view], keys: 0, columns, sql: ([from]) => rangeSql(from!, types, nulls.length) };
  }

  #children(pairs: readonly TableMapping[], entry: Extract<CheckEntry, { kind: 'children' }>): QueryCheck | undefined {
    const reference = this.#reference(pairs, { table: entry.parent, key: 'childrenOf', by: entry.by });
    if (reference === undefined) return undefined;
    const child = this.#view(pairs, { by: reference.columns });
    const parent = this.#view(this.#pairsOf(reference.parent), { childrenOf: reference.parentColumns });
    const width = reference.columns.length;
    return {
      kind: 'children',
      name: entry.name,
      tolerance: entry.tolerance,
      views: [child, parent],
      keys: 1,
      columns: [number('children'), number('parents')],
      sql: ([one, other]) => childrenSql(one!, other!, width),
    };
  }

  #sample(pairs: readonly TableMapping[], entry: Extract<CheckEntry, { kind: 'sample' }>): QueryCheck | undefined {
    const { targetKey } = pairs[0]!;
    if (targetKey.length === 0) return this.#error(`${showTable(pairs[0]!.to)} has no key to choose rows by`, 'table');
    const reference = entry.parent === undefined ? undefined : this.#reference(pairs, { table: entry.parent, key: 'parent', by: entry.by });
    if (entry.parent !== undefined && reference === undefined) return undefined;
    const refs = reference?.columns ?? [];
    const child = this.#view(pairs, { table: targetKey, by: refs });
    const own = [...child.columns, ...this.#comparable(child.pairs, child.columns)];
    const parent = reference && this.#view(this.#pairsOf(reference.parent), { parent: reference.parentColumns });
    const theirs = parent ? [...parent.columns, ...this.#comparable(parent.pairs, parent.columns)] : [];
    const shape = { keys: targetKey.length, refs: refs.length, percent: entry.percent };
    return {
      kind: 'sample',
      name: entry.name,
      tolerance: entry.tolerance,
      views: [{ ...child, columns: own }, ...(parent ? [{ ...parent, columns: theirs }] : [])],
      keys: targetKey.length,
      columns: [...own.map(plain), ...theirs.map((column) => plain(`${reference!.parent.name}.${column}`))],
      sql: ([from, other]) => sampleSql({ child: from!, parent: other, ...shape, childColumns: own.length, parentColumns: theirs.length }),
    };
  }

  /** Further columns that can be asked for. */
  #comparable(pairs: readonly TableMapping[], but: readonly string[]): string[] {
    const [first] = pairs;
    return (first?.columns ?? [])
      .map(({ target }) => target)
      .filter((column) => !but.includes(column) && pairs.every((pair) => whyNot(this.#fit, pair, column) === undefined));
  }

  /** `columns` by the key of the entry that names them. */
  #view(all: readonly TableMapping[], columns: Readonly<Record<string, readonly string[]>>): CheckView {
    const names = Object.values(columns).flat();
    const merged = pairsFor(all, names);
    const pairs = merged.length === 0 ? all.slice(0, 1) : merged;
    const because = whyNoView(pairs);
    if (because !== undefined) this.#error(`${showTable(pairs[0]!.to)} cannot be looked at in this way: ${because}`, 'table');
    for (const [key, ofKey] of Object.entries(columns)) {
      for (const name of ofKey) {
        const why = pairs.map((pair) => whyNot(this.#fit, pair, name)).find((one) => one !== undefined);
        if (why !== undefined) this.#error(`"${name}" of ${showTable(pairs[0]!.to)} ${why}`, key);
      }
    }
    return { pairs, columns: names };
  }

  #reference(
    pairs: readonly TableMapping[],
    { table, key, by }: { readonly table: string; readonly key: string; readonly by: readonly string[] | undefined },
  ): Reference | undefined {
    const parents = this.#table(table, key);
    if (parents === undefined) return undefined;
    const [{ to: child }, { to: parent, targetKey }] = [pairs[0]!, parents[0]!];
    const declared = this.#foreignKeys.filter((one) => tableId(one.child) === tableId(child) && tableId(one.parent) === tableId(parent));
    if (by === undefined) {
      if (declared.length === 1) return { parent, columns: declared[0]!.columns, parentColumns: declared[0]!.parentColumns };
      const what = declared.length === 0 ? 'no foreign key tells' : `${declared.length} foreign keys could tell`;
      return this.#error(`${what} how ${showTable(child)} refers to ${showTable(parent)}: write by: [columns]`, key);
    }
    const known = declared.find(({ columns }) => columns.toSorted().join('\0') === by.toSorted().join('\0'));
    if (known !== undefined) return { parent, columns: known.columns, parentColumns: known.parentColumns };
    if (by.length === targetKey.length) return { parent, columns: by, parentColumns: targetKey };
    return this.#error(`the key of ${showTable(parent)} is (${targetKey.join(', ')}): by needs as many columns`, 'by');
  }

  #table(text: string, key: string): readonly TableMapping[] | undefined {
    const pattern = parseTablePattern(text);
    const pairs = pattern === undefined ? [] : this.#pairsOf(pattern);
    if (pairs.length > 0) return pairs;
    const names = this.#fit.tables.map(({ to }) => showTable(to));
    return this.#error(`the migration fills no table ${text}${didYouMean(text, names)}`, key);
  }

  #pairsOf(table: TableName): readonly TableMapping[] {
    return this.#fit.tables.filter(({ to }) => to.schema === table.schema && to.name === table.name);
  }

  #error(message: string, key: string): undefined {
    this.#wrong++;
    const place = this.#entry.places[key] ?? this.#entry;
    this.#list.error('CF-4001', `check "${this.#entry.name}": ${message}`, place, 'Mend the check in the file (docs/checks.md).');
  }
}

function plain(label: string): ResultColumn {
  return { label, shown: false, numeric: false };
}

function number(label: string): ResultColumn {
  return { label, shown: true, numeric: true };
}
