/**
 * What the records of a Debezium connector cannot carry of the columns that a file maps. Guarantee: a column whose values would arrive wrong
 * without a word is refused; where only some values would, a warning names them and the connector's setting that helps.
 *
 * Seen with the connector 3.7 and a source of 18; each line is in docs/wire.md.
 */
import type { Finding } from '../errors.ts';
import { errorFinding, listNames, warningFinding } from '../finding.ts';
import type { CatalogColumn, CatalogTable } from '../table.ts';
import { type CompiledMapping, sourceColumns, tableId } from './compiled-mapping.ts';

const OID = { interval: 1186, timetz: 1266, varbit: 1562, numeric: 1700, intervals: 1187 } as const;
/** Arrays for which the connector has a placeholder: bytea, text, varchar, char, integer, bigint, date, uuid, jsonb and json. */
const ARRAYS_WITH_PLACEHOLDER: ReadonlySet<number> = new Set([1001, 1009, 1015, 1014, 1007, 1016, 1182, 2951, 3807, 199]);
const LEFT_OUT_KINDS: ReadonlySet<string> = new Set(['c', 'm']);

interface Loss {
  readonly severity: 'error' | 'warning';
  readonly what: string;
  readonly remedy: string;
  readonly hits: (column: CatalogColumn, table: CatalogTable) => boolean;
}

const DROP = 'Name the column under drop: in the file (and carry it over by hand), or read the source without Debezium.';
const SETTING = 'Set it in the connector before its first snapshot; ignore this where it is set or where no such value exists.';

const LOSSES: readonly Loss[] = [
  {
    severity: 'error',
    what: 'Debezium cannot carry arrays of several dimensions: their elements become null',
    remedy: DROP,
    hits: ({ dimensions }) => dimensions !== undefined,
  },
  {
    severity: 'error',
    what: 'Debezium fills bit varying up with zeros to whole bytes',
    remedy: DROP,
    hits: (column) => column.typeOid === OID.varbit,
  },
  {
    severity: 'error',
    what: 'Debezium leaves columns of these types out of its records',
    remedy: DROP,
    hits: (column) => LEFT_OUT_KINDS.has(column.typtype) || column.typeOid === OID.intervals,
  },
  {
    severity: 'error',
    what: 'Debezium writes null for these arrays when an update left a large value as it was',
    remedy: 'ALTER TABLE … REPLICA IDENTITY FULL on the source: then it writes the value. Or name the column under drop: in the file.',
    hits: ({ elementOid, typeOid }, { replicaIdentity }) =>
      elementOid !== 0 && replicaIdentity !== 'f' && !ARRAYS_WITH_PLACEHOLDER.has(typeOid),
  },
  {
    severity: 'warning',
    what: 'months and days of an interval become hours by an average, unless the connector has interval.handling.mode=string',
    remedy: SETTING,
    hits: (column) => column.typeOid === OID.interval,
  },
  {
    severity: 'warning',
    what: 'NaN and infinity of a numeric become null without a word, unless the connector has event.converting.failure.handling.mode=fail',
    remedy: SETTING,
    hits: (column) => column.typeOid === OID.numeric,
  },
  {
    severity: 'warning',
    what: 'the zone of time with time zone is lost: values come in UTC',
    remedy: 'Nothing to do where only the moment counts.',
    hits: (column) => column.typeOid === OID.timetz,
  },
  {
    severity: 'warning',
    what: 'these types can be read only where the connector has column.propagate.source.type=.*',
    remedy: SETTING,
    hits: ({ typeName, type, elementOid }) => elementOid === 0 && (typeName === 'hstore' || type === 'bit(1)'),
  },
];

/** Of the columns that are mapped. */
export function inputLosses(mapping: CompiledMapping, tables: readonly CatalogTable[]): Finding[] {
  const byId = new Map(tables.map((table) => [tableId(table), table]));
  const columns = mapping.tables.flatMap((mapped) => {
    const table = byId.get(tableId(mapped.from));
    return table === undefined ? [] : sourceColumns(mapped).map((column) => ({ table, column: plain(column) }));
  });
  return LOSSES.flatMap(({ severity, what, remedy, hits }) => {
    const hit = columns.filter(({ column, table }) => hits(column, table));
    if (hit.length === 0) return [];
    const names = [...new Set(hit.map(({ table, column }) => `${table.schema}.${table.name}.${column.name}`))];
    const message = `${what}: ${listNames(names)}`;
    return [severity === 'error' ? errorFinding('CF-4001', message, remedy) : warningFinding('CF-2010', message, remedy)];
  });
}

/** A domain as what it rests on. */
function plain(column: CatalogColumn): CatalogColumn {
  return column.domainBase === undefined ? column : { ...column, ...column.domainBase };
}
