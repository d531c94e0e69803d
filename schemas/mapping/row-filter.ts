/**
 * Row filters (`where:`), in TypeScript for the stream and in SQL for snapshots and verify. Guarantee: both decide alike for every row,
 * because a condition is allowed only on types with one text form per value, and its values are brought to that form when the file is
 * compiled. A condition on a NULL: `in` holds only if null is listed, `not-in` unless null is listed.
 */
import type { FilterEntry } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import { quoteLiteral, type CatalogColumn } from '../table.ts';
import type { FilterCondition, RowFilter } from './compiled-mapping.ts';
import type { FindingList } from './finding-list.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { showTable } from './table-pattern.ts';
import { underDomain, type TypeWorld } from './type-fit.ts';

/** Values in the order of the filter's conditions; a column that is absent must not get here. */
export type RowPredicate = (values: readonly (string | null)[]) => boolean;

export function compileRowPredicate(filter: RowFilter): RowPredicate {
  const tests = filter.conditions.map((condition) => {
    const values = new Set(condition.values);
    const wanted = condition.op === 'in';
    return (value: string | null): boolean => values.has(value) === wanted;
  });
  return (values) => tests.every((test, i) => test(values[i] ?? null));
}

/** The same as SQL; `columnSql` gives a column's quoted (and qualified) name. */
export function filterSql(filter: RowFilter, columnSql: (column: string) => string): string {
  return filter.conditions.map((condition) => `(${conditionSql(condition, columnSql(condition.column))})`).join(' AND ');
}

function conditionSql({ op, values, type }: FilterCondition, column: string): string {
  const given = values.filter((value) => value !== null);
  const withNull = given.length < values.length;
  const literals = given.map((value) => (type === undefined ? quoteLiteral(value) : `${quoteLiteral(value)}::${type}`)).join(', ');
  // format() prints by the type's output function, as COPY and the stream do; a cast to text does not (boolean, char).
  const text = type === undefined ? `pg_catalog.format('%s', ${column}) COLLATE "C"` : column;
  if (op === 'in') {
    const parts = [given.length > 0 ? `${column} IS NOT NULL AND ${text} IN (${literals})` : '', withNull ? `${column} IS NULL` : ''];
    return parts.filter((part) => part !== '').join(' OR ');
  }
  if (given.length === 0) return `${column} IS NOT NULL`;
  return withNull ? `${column} IS NOT NULL AND ${text} NOT IN (${literals})` : `${column} IS NULL OR ${text} NOT IN (${literals})`;
}

type Canonical = (text: string, column: CatalogColumn) => string | undefined;

function wholeNumber(bits: bigint, signed: boolean): Canonical {
  const max = signed ? (1n << (bits - 1n)) - 1n : (1n << bits) - 1n;
  const min = signed ? -(1n << (bits - 1n)) : 0n;
  return (text) => {
    if (!/^-?\d{1,20}$/.test(text)) return undefined;
    const value = BigInt(text);
    return value >= min && value <= max ? String(value) : undefined;
  };
}

const BOOLEANS: Readonly<Record<string, string>> = { true: 't', t: 't', false: 'f', f: 'f' };

const DATE = /^(?:-?infinity|(?:\d{4}|[1-9]\d{4,6})-\d{2}-\d{2}(?: BC)?)$/;

/** Types with exactly one text per value, and how a value of the file is brought to it. */
const CANONICAL: Readonly<Record<string, Canonical>> = {
  int2: wholeNumber(16n, true),
  int4: wholeNumber(32n, true),
  int8: wholeNumber(64n, true),
  oid: wholeNumber(32n, false),
  bool: (text) => (Object.hasOwn(BOOLEANS, text.toLowerCase()) ? BOOLEANS[text.toLowerCase()] : undefined),
  uuid: (text) => (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : undefined),
  date: (text) => (DATE.test(text) ? text : undefined),
  text: (text) => text,
  varchar: (text) => text,
  bpchar: padded,
};

/** A char(n) comes with its blanks, counted in characters. */
function padded(text: string, { typmod }: CatalogColumn): string | undefined {
  if (typmod < 4) return text;
  // Code points, as PostgreSQL counts.
  const { length } = Array.from(text);
  return length > typmod - 4 ? undefined : text + ' '.repeat(typmod - 4 - length);
}

/** Brings a value of the file to the one text that the column's type has for it; undefined for a type with several. */
export function canonicalOf(column: CatalogColumn): ((text: string) => string | undefined) | undefined {
  const plain = underDomain(column);
  if (plain.typtype === 'e') return (text) => text;
  const canonical = plain.builtin && plain.elementOid === 0 ? CANONICAL[plain.typeName ?? ''] : undefined;
  return canonical === undefined ? undefined : (text) => canonical(text, plain);
}

/** Types that a server may compare by their own operator: equal exactly where their texts are. */
const COMPARED_AS: Readonly<Record<string, string>> = {
  int2: 'bigint',
  int4: 'bigint',
  int8: 'bigint',
  oid: 'oid',
  bool: 'boolean',
  uuid: 'uuid',
  date: 'date',
  text: 'text',
  varchar: 'text',
};

interface FilterContext {
  readonly list: FindingList;
  readonly world: Pick<TypeWorld, 'source'>;
}

/** False where a value is none that the column can have (reported): mistyped, it would let through no row, or all of them. */
function isPossible(column: CatalogColumn, filter: FilterEntry, { list, world }: FilterContext): boolean {
  const { type, typtype, typeOid, typeName, typmod, builtin, elementOid } = underDomain(column);
  const labels = typtype === 'e' ? world.source.get(typeOid)?.labels : undefined;
  const most = builtin && elementOid === 0 && typeName === 'varchar' && typmod >= 4 ? typmod - 4 : Infinity;
  const wrong = filter.values.find((value) => value !== null && (labels?.includes(value) === false || Array.from(value).length > most));
  if (typeof wrong !== 'string') return true;
  const message = `\`where\` compares column "${column.name}" with a value that no ${type} is${didYouMean(wrong, labels ?? [])}`;
  list.error('CF-1004', message, filter, labels === undefined ? 'Shorten it.' : `Its labels are ${labels.join(', ')}.`);
  return false;
}

/** Undefined when the entry has no filter, or a wrong one (reported). */
export function compileFilter({ entry, source }: ResolvedTable, { list, world }: FilterContext): RowFilter | undefined {
  const conditions: FilterCondition[] = [];
  for (const [name, filter] of Object.entries(entry.where ?? {})) {
    const column = source.columns.find((one) => one.name === name);
    if (column === undefined) {
      const near = didYouMean(
        name,
        source.columns.map((one) => one.name),
      );
      list.error('CF-1008', `\`where\` names column "${name}", which ${showTable(source)} does not have${near}`, filter);
    } else if (column.generated !== '') {
      list.error(
        'CF-4001',
        `\`where\` names column "${name}" of ${showTable(source)}, which is generated and so not in the stream`,
        filter,
      );
    } else {
      const condition = isPossible(column, filter, { list, world }) ? compileCondition(column, filter, list) : undefined;
      if (condition !== undefined) conditions.push(condition);
    }
  }
  return conditions.length === 0 ? undefined : { conditions };
}

/** Undefined where the column's type, or a value, is none to compare by (reported). */
export function compileCondition(column: CatalogColumn, filter: FilterEntry, list: FindingList): FilterCondition | undefined {
  const plain = underDomain(column);
  const canonical = canonicalOf(column);
  const onlyNull = filter.values.every((value) => value === null);
  if (canonical === undefined && !onlyNull) {
    const remedy = `A filter compares whole numbers, texts, enums, booleans, dates and UUIDs; other types only with null.`;
    list.error('CF-4001', `\`where\` cannot compare column "${column.name}" of type ${column.type}`, filter, remedy);
    return undefined;
  }
  const values = filter.values.map((value) => (value === null ? null : canonical?.(value)));
  if (values.some((value) => value === undefined)) {
    const remedy = 'Write a value of that type as PostgreSQL prints it.';
    list.error('CF-1004', `\`where\` compares column "${column.name}" with a value that is no ${column.type}`, filter, remedy);
    return undefined;
  }
  // A collation of the column's own, or of its domain's, may call different texts equal.
  const ownOrder = plain.collation !== undefined || column.typtype === 'd';
  const type = onlyNull || !plain.builtin || ownOrder ? undefined : COMPARED_AS[plain.typeName ?? ''];
  return { column: column.name, op: filter.op, values: [...new Set(values as (string | null)[])], ...(type !== undefined && { type }) };
}
