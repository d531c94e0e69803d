/**
 * Whether a repair may be made: the file's limits, and what people have to sign before rows of the target go. Guarantee: refused before anything is
 * asked of the running instance, with the numbers, from a comparison made now; where the file says nothing, nothing is compared and nothing refused.
 */
import { connect, queryRow } from '#connectors/postgres/session.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { approvalGates, requiredFor } from '#schemas/migration/approvals.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { type RepairExtent, repairExtent } from '#services/reconciler/repair-extent.ts';
import { readSubject } from '../approvals/signed-subject.ts';
import { formatCount } from '../render.ts';

export function isLimited({ repair, approvals }: MigrationFile): boolean {
  return repair !== undefined || requiredFor('repair-deletes', approvals).length > 0;
}

export interface Asked {
  readonly file: MigrationFile;
  /** The side that serves. */
  readonly copiedFrom: string;
  readonly mapping: CompiledMapping;
  readonly requests: readonly RecopyRequest[];
  /** The tables asked for, compared now. */
  readonly before: VerifyResult;
  /** A pass behind the copy of a table or a range, for the rows that `before` names: those that only the target has are taken away. */
  readonly isBehindCopy?: boolean;
}

/** @throws PipelineError CF-6023 beyond a limit, CF-8004 where it was not signed, CF-6002 where the rows cannot be counted */
export async function requireAllowed(asked: Asked): Promise<void> {
  const { file, requests, before, isBehindCopy = false } = asked;
  if (!isLimited(file)) return;
  const open = before.tables.find(({ inconclusive }) => inconclusive !== undefined);
  if (open !== undefined)
    throw new PipelineError('CF-6002', `how much the repair would do is not known: ${open.to}: ${open.inconclusive!.message}`);
  const extent = repairExtent(requests, before.tables, await rangeRows(asked));
  const done = isBehindCopy ? 'the rows were copied, and none is taken away' : 'nothing was done';
  const copied = isBehindCopy ? before.tables.flatMap(({ sample }) => sample.filter(({ kind }) => kind !== 'extra')).length : extent.rows;
  requireLimits(file, { ...extent, rows: copied }, done);
  if (extent.deletes > 0) await requireSigned(file, extent, done);
}

function requireLimits({ repair: { maxRows, maxDeletes } = {} }: MigrationFile, { rows, deletes }: RepairExtent, done: string): void {
  const beyond = [
    ...(maxRows !== undefined && rows > maxRows ? [`copy ${rowsOf(rows)} again, and maxRows is ${formatCount(maxRows)}`] : []),
    ...(maxDeletes !== undefined && deletes > maxDeletes
      ? [`take ${rowsOf(deletes)} from the target, and maxDeletes is ${formatCount(maxDeletes)}`]
      : []),
  ];
  if (beyond.length > 0) throw new PipelineError('CF-6023', `${done}: the repair would ${beyond.join(', and ')}`);
}

function rowsOf(count: number): string {
  return count === 1 ? 'one row' : `${formatCount(count)} rows`;
}

async function requireSigned(file: MigrationFile, { deletes }: RepairExtent, done: string): Promise<void> {
  if (requiredFor('repair-deletes', file.approvals).length === 0) return;
  const { approvals, planHash } = await readSubject(file, 'repair');
  const closed = approvalGates('repair-deletes', { required: file.approvals, approvals, planHash }).filter(({ isOpen }) => !isOpen);
  if (closed.length === 0) return;
  const what = closed.map(({ evidence }) => evidence).join('; ');
  throw new PipelineError('CF-8004', `${done}: the repair would take ${rowsOf(deletes)} from the target, which has to be signed: ${what}`, {
    remedy: closed[0]!.remedy,
  });
}

async function rangeRows({ copiedFrom, mapping, requests }: Asked): Promise<Map<RecopyRequest, number>> {
  const counts = new Map<RecopyRequest, number>();
  const ranges = requests.filter((one) => one.kind === 'range');
  if (ranges.length === 0) return counts;
  const client = await connect(copiedFrom, { applicationName: 'crossfade repair', role: 'source' });
  try {
    for (const request of ranges) {
      const table = mapping.tables.find(({ from }) => from.schema === request.schema && from.name === request.table)!;
      const column = table.columns.find(({ source }) => source.name === table.sourceKey[0])!.source;
      const ends = [
        ['>=', request.from],
        ['<=', request.to],
      ] as const;
      const given = ends.filter(([, value]) => value !== undefined);
      const where = given.map(([sign], i) => `${quoteIdent(column.name)} ${sign} $${i + 1}::text::${column.baseType}`).join(' AND ');
      const sql = `SELECT pg_catalog.count(*)::text AS rows FROM ${quoteTable(table.from)} WHERE ${where}`;
      const row = await queryRow(
        client,
        sql,
        given.map(([, value]) => value),
      );
      counts.set(request, Number(row!['rows']));
    }
  } finally {
    await client.end().catch(() => undefined);
  }
  return counts;
}
