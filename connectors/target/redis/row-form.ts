/**
 * What the rows of a table were written as. Guarantee: a file under which rows that stand there would not be what a new copy makes of them
 * is told from every other: they are written again only when they change.
 */
import { createHash } from 'node:crypto';
import { isComputed, type RowFilter, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';

export interface RowForm {
  /** Form, key and sets. */
  readonly form: string;
  /** What follows was not stored by the first builds. Seconds, 0: rows stay. */
  readonly ttl?: number;
  /** Names at the source and in Redis; computed ones are the steps' matter. */
  readonly columns?: readonly (readonly [source: string, target: string])[];
  /** At the source, now or once, and not in the rows that the file says. */
  readonly dropped?: readonly string[];
  /** Digest of what computes columns; '' where nothing does. */
  readonly steps?: string;
  /** Digest of `where`; '' without. A row outside of it is not touched any more, one that is now within comes when it changes. */
  readonly where?: string;
}

/** `before`: as it was stored last; a column that is gone may still stand in rows, so it is not forgotten. */
export function rowFormOf({ redis, columns, dropped, steps, filter }: TableMapping, before?: RowForm): RowForm {
  const written = new Set(columns.map(({ source }) => source.name));
  const gone = [...(before?.dropped ?? []), ...(before?.columns ?? []).map(([source]) => source)].filter((name) => !written.has(name));
  return {
    form: [redis!.form, redis!.key.text, ...redis!.sets.map(({ text }) => text)].join(' '),
    ttl: redis!.ttlSeconds ?? 0,
    columns: columns.filter((_, i) => !isComputed(steps, i)).map(({ source, target }) => [source.name, target] as const),
    dropped: [...new Set([...dropped, ...gone])],
    steps: steps?.digest ?? '',
    where: filter === undefined ? '' : digestOf(filter),
  };
}

/** Neither the order of conditions nor that of their values says anything. */
function digestOf({ conditions }: RowFilter): string {
  const said = conditions.map(({ column, op, values }) => JSON.stringify([column, op, [...new Set(values)].toSorted(nullFirst)]));
  return createHash('sha256').update(JSON.stringify(said.toSorted())).digest('hex');
}

function nullFirst(a: string | null, b: string | null): number {
  if (a === null || b === null) return Number(b === null) - Number(a === null);
  return a < b ? -1 : Number(a > b);
}

/**
 * How rows stand there that the file does not say, a phrase each. A column that is gone at the source stays as it is, as on any target; one
 * that is new there is NULL in every row of before, unless it came with a default, or rows passed by while it was ignored.
 */
export function strangersTo(table: TableMapping, stored: RowForm): string[] {
  const now = rowFormOf(table);
  const found: string[] = [];
  if (stored.form !== now.form) found.push(`as "${stored.form}", the file says "${now.form}"`);
  if (stored.ttl !== undefined && stored.ttl !== now.ttl) found.push(`${ttlText(stored.ttl)}, the file says ${ttlText(now.ttl!)}`);
  found.push(...strangeColumns(table, stored));
  if (stored.steps !== undefined && stored.steps !== now.steps) found.push('computed by other steps (`set`) than the file has');
  if (stored.where !== undefined && stored.where !== now.where) found.push('chosen by another `where` than the file has');
  return found;
}

function strangeColumns(table: TableMapping, stored: RowForm): string[] {
  if (stored.columns === undefined) return [];
  const before = new Map(stored.columns);
  const known = new Set([...before.keys(), ...(stored.dropped ?? [])]);
  const added = table.columns.filter(
    ({ source, target }, i) =>
      !isComputed(table.steps, i) &&
      before.get(source.name) !== target &&
      (known.has(source.name) || source.hasDefault || source.identity !== '' || table.unmapped === 'ignore'),
  );
  const removed = stored.columns.filter(([source]) => table.dropped.includes(source));
  const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ');
  return [
    ...(added.length > 0 ? [`without ${quoted(added.map(({ target }) => target))}`] : []),
    ...(removed.length > 0 ? [`with ${quoted(removed.map(([, target]) => target))}, which the file drops`] : []),
  ];
}

function ttlText(seconds: number): string {
  return seconds === 0 ? 'without ttl' : `with ttl ${seconds}`;
}
