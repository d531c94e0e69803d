/**
 * PostgreSQL behind the target port. Guarantee: a round is one transaction, and whatever PostgreSQL or the network says of a session is
 * told apart: a new session may do better, or an operator must act.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { Target, TargetEvents, TargetStore } from '#connectors/target/target.ts';
import { readBookmark, writeBookmark } from './bookmark.ts';
import { changeOver } from './change-over.ts';
import { join } from './join.ts';
import { openTarget, type TargetOptions } from './open-target.ts';
import { ConsistentKeeper, LaneKeeper, readMarkers } from './progress.ts';
import { emptyHeldTable, resumed } from './resume-table.ts';
import { isTransient, StatementError } from './wire.ts';

export function postgresStore(options: Omit<TargetOptions, 'onMissing'>): TargetStore {
  return {
    isAtomic: true,
    deadLettersUrl: options.url,
    open: (events) => open(options, events),
    isTransient: isRetried,
    explain,
  };
}

async function open(options: Omit<TargetOptions, 'onMissing'>, events: TargetEvents): Promise<Target> {
  const target = await openTarget({ ...options, ...events });
  const { client, progress, tables, blocked, ordered } = target;
  const { name } = options.mapping;
  return {
    progress,
    tables,
    blocked,
    ordered,
    readMarkers: () => readMarkers(client, name),
    readBookmark: () => readBookmark(client, name),
    writeBookmark: (bookmark) => writeBookmark(client, name, bookmark),
    consistent: (from) => target.applier(new ConsistentKeeper({ ...from, name })),
    lane: (own) => target.openLane(new LaneKeeper(name, progress.epoch, own)),
    changeOver: (position, news) => changeOver(target, position, news),
    join: (position) => join(target, position),
    emptyHeldTable: (table) => emptyHeldTable(target, table),
    resumed: (table) => resumed(target, table),
    close: () => target.close(),
  };
}

function isRetried(error: unknown): boolean {
  if (error instanceof StatementError) return error.lost || isTransient(error);
  // What node-postgres itself reports of a session: a server that shuts down or starts (57P0x, 08xxx), or a dead connection.
  const { code, message } = error as { code?: string; message?: string };
  if (/^(08...|57P..|53...|40001|40P01|55P03)$/.test(code ?? '')) return true;
  return /Connection terminated|ECONNRESET|EPIPE|ECONNREFUSED|ETIMEDOUT|not queryable/.test(message ?? '');
}

function explain(error: unknown): unknown {
  if (!(error instanceof StatementError)) return error;
  const code = error.sqlState === '42501' ? 'CF-5002' : 'CF-5003';
  return new PipelineError(code, `the target refused a statement: ${error.message}`, { cause: error });
}
