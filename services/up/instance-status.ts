/**
 * Status of the running instance (design §12). Guarantee: what is not known is null; lag counts from the source's own LSN and commit
 * times, and is zero only when everything the source had at that look is applied.
 */
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import { pairId, tableId, type CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { type StatusResult, type TableStatus, UNKNOWN_COPY } from '#schemas/status/status-result.ts';
import type { Copier } from '#services/reader/copy/copier.ts';
import type { CopyProgress } from '#services/reader/copy/copy-port.ts';
import type { Reader } from '#services/reader/reader.ts';
import type { Sink } from '#services/sink/sink.ts';

export interface Parts {
  readonly name: string;
  readonly mapping: CompiledMapping;
  readonly reader: Pick<Reader, 'status'>;
  readonly copier: Pick<Copier, 'progress' | 'complete'> & { readonly operator?: Pick<Copier['operator'], 'status'> };
  readonly sink: Pick<Sink, 'status'>;
  readonly drift: () => number | null;
  readonly reconciliation?: StatusResult['reconciliation'] | undefined;
  /** What the target says that it runs under. */
  readonly plan?: Omit<NonNullable<StatusResult['plan']>, 'changed'> | undefined;
}

export function instanceStatus(parts: Parts): StatusResult {
  const reader = parts.reader.status();
  const sink = parts.sink.status();
  const copied = new Map(parts.copier.progress().map((table) => [tableId({ schema: table.schema, name: table.table }), table]));
  const applied = new Map(sink.tables.map((table) => [pairId(table), table]));
  const tables = parts.mapping.tables.map((table): TableStatus => {
    const chunks = copied.get(tableId(table.from));
    const rows = applied.get(pairId(table));
    const error = rows?.error ?? chunks?.error;
    return {
      from: `${table.from.schema}.${table.from.name}`,
      to: `${table.to.schema}.${table.to.name}`,
      phase: error === undefined ? phaseOf(rows?.state ?? 'waiting', chunks?.state) : 'held',
      rowsCopied: rows?.rowsCopied ?? 0,
      rowsEstimated: Math.max(0, Math.round(chunks?.rowsEstimated ?? 0)),
      changesApplied: rows?.changesApplied ?? 0,
      ...(rows?.conflicts !== undefined && Object.keys(rows.conflicts).length > 0 && { conflicts: rows.conflicts }),
      ...(error !== undefined && { error }),
    };
  });
  const held = tables.some((table) => table.phase === 'held');
  return {
    name: parts.name,
    phase: sink.applied === undefined ? 'copying' : 'following',
    tables,
    lag: lagOf(reader.currentLsn, sink.applied?.lsn, sink.applied?.commitTimeMs),
    source: {
      lsn: reader.currentLsn === undefined ? null : formatLsn(reader.currentLsn),
      slot: { retainedBytes: reader.slot ? Math.max(0, reader.slot.retainedBytes) : null, status: reader.slot?.walStatus ?? null },
    },
    applied: {
      lsn: sink.applied === undefined ? null : formatLsn(sink.applied.lsn),
      exact: sink.isAtomic && sink.applied !== undefined && !held && sink.deadLetters === 0,
    },
    copy: parts.copier.operator?.status() ?? UNKNOWN_COPY,
    restarts: reader.restarts,
    deadLetters: sink.deadLetters,
    drift: parts.drift(),
    ...(parts.reconciliation !== undefined && { reconciliation: parts.reconciliation }),
    plan: parts.plan === undefined ? null : { ...parts.plan, changed: null },
  };
}

/** The sink may have been told `following` by a run that ended before it had recorded that: what the reader reads again is not followed. */
function phaseOf(applied: TableStatus['phase'], read: CopyProgress['state'] | undefined): TableStatus['phase'] {
  return applied === 'following' && (read === 'waiting' || read === 'copying') ? 'copying' : applied;
}

/** Between the source's LSN at the last look and the state that the target shows. */
function lagOf(current: Lsn | undefined, applied: Lsn | undefined, commitTimeMs: number | undefined): StatusResult['lag'] {
  if (current === undefined || applied === undefined) return { bytes: null, seconds: null, known: false };
  const bytes = current > applied ? Number(current - applied) : 0;
  const seconds = commitTimeMs === undefined ? null : Math.max(0, (Date.now() - commitTimeMs) / 1000);
  return { bytes, seconds: bytes === 0 ? 0 : seconds, known: true };
}
