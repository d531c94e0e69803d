/**
 * What a service on its own can tell, in the shape of `status`. Guarantee: what it does not know is null: the reader knows no target, the
 * sink no source.
 */
import { formatLsn } from '#schemas/lsn.ts';
import { bySource, tableId, type CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { Copier } from '#services/reader/copy/copier.ts';
import type { ReaderStatus } from '#services/reader/reader.ts';
import type { SinkStatus } from '#services/sink/sink.ts';
import { instanceStatus } from '../instance-status.ts';

/** A reader that stands by. */
export const IDLE_READER: ReaderStatus = {
  connected: false,
  epoch: 0,
  restarts: 0,
  durableEnd: 0n as ReaderStatus['durableEnd'],
  confirmed: 0n as ReaderStatus['confirmed'],
  currentLsn: undefined,
  slot: undefined,
  error: undefined,
};

/** A sink that stands by. */
export const IDLE_SINK: SinkStatus = {
  connected: false,
  mode: 'parallel',
  applied: undefined,
  isAtomic: true,
  deadLetters: 0,
  tables: [],
  restarts: 0,
  error: undefined,
};

/** Rows and lag up to the log: what is behind it is the sink's. */
export function readerStatus(
  { name, mapping }: { readonly name: string; readonly mapping: CompiledMapping },
  reader: ReaderStatus,
  copier: Pick<Copier, 'progress' | 'complete' | 'operator'>,
): StatusResult {
  const targets = bySource(mapping.tables);
  const base = instanceStatus({
    name,
    mapping,
    reader: { status: () => reader },
    copier,
    sink: { status: () => IDLE_SINK },
    drift: () => null,
  });
  const tables = copier.progress().map(({ schema, table, state, rowsCopied, rowsEstimated, error }) => {
    const own = targets.get(tableId({ schema, name: table })) ?? [];
    return {
      from: `${schema}.${table}`,
      to: own.map(({ to }) => `${to.schema}.${to.name}`).join(', '),
      phase: state,
      rowsCopied,
      rowsEstimated: Math.max(0, Math.round(rowsEstimated)),
      changesApplied: 0,
      ...(error !== undefined && { error }),
    };
  });
  const bytes = reader.currentLsn === undefined ? null : Math.max(0, Number(reader.currentLsn - reader.durableEnd));
  return {
    ...base,
    tables,
    phase: copier.complete ? 'following' : 'copying',
    lag: { bytes, seconds: bytes === 0 ? 0 : null, known: bytes !== null },
  };
}

export function sinkStatus(
  { name, mapping }: { readonly name: string; readonly mapping: CompiledMapping },
  sink: SinkStatus,
): StatusResult {
  const copier = { progress: () => [], complete: false };
  const status = instanceStatus({
    name,
    mapping,
    copier,
    reader: { status: () => IDLE_READER },
    sink: { status: () => sink },
    drift: () => null,
  });
  return { ...status, applied: { ...status.applied, lsn: sink.applied === undefined ? null : formatLsn(sink.applied.lsn) } };
}
