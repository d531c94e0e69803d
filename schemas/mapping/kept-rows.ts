/**
 * What rows that the source deleted mean on the target, where the file keeps them. Guarantee: sink and verify tell a softly deleted row from
 * a living one by the same condition.
 */
import { quoteIdent, quoteLiteral } from '../table.ts';
import type { SoftDelete, TableMapping } from './compiled-mapping.ts';

type Fates = Pick<TableMapping, 'deletes' | 'truncates'>;

/** Undefined where rows that the source deletes go, or stay as they are. */
export function softDeleteOf({ deletes }: Fates): SoftDelete | undefined {
  return deletes === 'ignore' ? undefined : deletes;
}

/** The target may have rows that the source lacks, and nothing tells them from others: nobody may take them away in passing. */
export function keepsUnmarked({ deletes, truncates }: Fates): boolean {
  return deletes === 'ignore' || truncates === 'ignore';
}

/** A row that is new at the source may be on the target. */
export function mayOutlive({ deletes, truncates }: Fates): boolean {
  return deletes !== undefined || truncates === 'ignore';
}

/** True for rows that are not softly deleted; `qualifier` like `t.`. */
export function aliveSql({ flag, at }: SoftDelete, qualifier = ''): string {
  return flag === undefined
    ? `${qualifier}${quoteIdent(at!.column)} IS NULL`
    : `${qualifier}${quoteIdent(flag.column)} IS DISTINCT FROM ${quoteLiteral(flag.dead)}`;
}

/**
 * What a row has in its marking columns. `moment`: SQL of type timestamptz that gives the time of its delete; where that gives null (or without
 * it) the row lives.
 */
export function marksSql({ flag, at }: SoftDelete, moment?: string): readonly { readonly column: string; readonly sql: string }[] {
  const marks: { column: string; sql: string }[] = [];
  if (flag !== undefined) {
    const [alive, dead] = [flag.alive === null ? 'NULL' : quoteLiteral(flag.alive), quoteLiteral(flag.dead)];
    const sql = moment === undefined ? alive : `(CASE WHEN ${moment} IS NULL THEN ${alive} ELSE ${dead} END)::${flag.type}`;
    marks.push({ column: flag.column, sql });
  }
  if (at !== undefined)
    marks.push({ column: at.column, sql: moment === undefined ? 'NULL' : at.zoned ? moment : `(${moment} AT TIME ZONE 'UTC')` });
  return marks;
}

const PG_EPOCH_MS = 946_684_800_000;
const MICROS_PER_MS = 1000n;

/** Microseconds since 2000-01-01 UTC (as pgoutput has them) as a timestamptz is written. */
export function momentText(pgMicros: bigint): string {
  const ms = pgMicros / MICROS_PER_MS;
  const micros = pgMicros % MICROS_PER_MS;
  const [date, time] = new Date(Number(ms) + PG_EPOCH_MS).toISOString().replace('Z', '').split('T') as [string, string];
  return `${date} ${time}${String(micros).padStart(3, '0')}+00`;
}
