/**
 * `verify` of a Redis target: no snapshot there, no atomic position (reference/reconcile.md §2.8). Guarantee: `differences` counts only rows
 * that differ from a state of the source that Redis had passed, and of which nothing changed while they were read (proof: align-store.ts); each
 * row has one verdict, from the first look at which it lay still. What never did is counted as inconclusive, `hot`: never as equal, never
 * as a difference.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { quoteTable } from '#schemas/table.ts';
import type pg from 'pg';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import { tableProbe } from '#connectors/probe/postgres/table-scan.ts';
import type { Logger } from '#services/runtime/service.ts';
import { DEFAULT_LIMITS, type VerifyLimits } from '../limits.ts';
import { alignStore, type HeldTable, type StoreAlignment, type StoreAlignOptions } from './align-store.ts';
import { storeReason } from './store-reason.ts';
import { TableLook, type Look } from './table-look.ts';
import { TableWork } from './table-work.ts';

export interface VerifyStoreOptions extends Omit<StoreAlignOptions, 'limits' | 'signal'> {
  readonly mapping: CompiledMapping;
  readonly logger: Logger;
  /** Tables to compare; all when absent. */
  readonly tables?: ((table: TableMapping) => boolean) | undefined;
  readonly limits?: Partial<VerifyLimits>;
  readonly signal?: AbortSignal;
}

/** Of changes only the keys are kept. */
const STORE_LIMITS: VerifyLimits = { ...DEFAULT_LIMITS, changesPerTable: 500_000, bytes: 1 << 30 };

/** @throws PipelineError CF-2001, CF-5001 when a server cannot be reached, CF-2004 when the slot is gone. */
export async function verifyStore(given: VerifyStoreOptions): Promise<VerifyResult> {
  const limits = { ...STORE_LIMITS, ...given.limits };
  const options = { ...given, limits, signal: given.signal ?? new AbortController().signal };
  const tables = options.mapping.tables.filter((table) => options.tables?.(table) ?? true);
  const works = tables.map(
    (mapping) =>
      new TableWork(
        tableProbe(mapping, () => true),
        limits,
      ),
  );
  for (let look = 1; works.some((work) => work.isOpen); look++) {
    const open = works.filter((work) => work.isOpen);
    await lookAgain(options, open);
    options.logger.debug({ look, tables: open.length, rows: open.reduce((sum, work) => sum + work.openKeys.length, 0) }, 'looked at Redis');
  }
  return resultOf(works);
}

type Options = StoreAlignOptions & { readonly logger: Logger };

/** One alignment, for all that is open. */
async function lookAgain(options: Options, works: readonly TableWork[]): Promise<void> {
  let alignment: StoreAlignment;
  try {
    alignment = await alignStore(
      options,
      works.map(({ probe }) => probe),
    );
  } catch (error) {
    const lag = error instanceof PipelineError && error.code === 'CF-6002' ? error : undefined;
    const reason = lag
      ? ({ cause: lag.details['applied'] === undefined ? 'copying' : 'lag', message: lag.message } as const)
      : storeReason(error);
    if (reason === undefined) throw error;
    for (const work of works) work.refuse(reason);
    return;
  }
  await using held = alignment;
  for (const [probe, reason] of held.refused) works.find((work) => work.probe === probe)!.refuse(reason);
  const looks = await lookAtAll(options, held, works);
  if (looks.size === 0) return;
  try {
    const touched = await held.touched();
    for (const [work, look] of looks) work.take(look, touched.get(work.probe)!, held);
  } catch (error) {
    const reason =
      error instanceof PipelineError && error.code === 'CF-6002' ? ({ cause: 'lag', message: error.message } as const) : storeReason(error);
    if (reason === undefined) throw error;
    for (const work of looks.keys()) work.fail(reason);
  }
}

async function lookAtAll(options: Options, alignment: StoreAlignment, works: readonly TableWork[]): Promise<Map<TableWork, Look>> {
  const looks = new Map<TableWork, Look>();
  const queue = alignment.tables.toSorted((one, other) => other.shape.pages - one.shape.pages);
  const worker = async (): Promise<void> => {
    for (let table = queue.shift(); table; table = queue.shift()) {
      options.signal.throwIfAborted();
      const { probe } = table;
      const work = works.find((one) => one.probe === probe)!;
      try {
        looks.set(work, await lookAt(options, { alignment, table }, work));
      } catch (error) {
        const reason = error instanceof TableMoved ? ({ cause: 'changed', message: error.message } as const) : storeReason(error);
        if (reason === undefined) throw error;
        work.fail(reason);
      }
    }
  };
  await Promise.all(Array.from({ length: options.limits.parallel }, worker));
  return looks;
}

class TableMoved extends Error {
  override readonly name = 'TableMoved';
}

interface Place {
  readonly alignment: StoreAlignment;
  readonly table: HeldTable;
}

async function lookAt({ limits, signal }: Options, { alignment, table }: Place, work: TableWork): Promise<Look> {
  const client = await alignment.source.session();
  try {
    await lockUnmoved(client, { alignment, table });
    const renew = async (): Promise<void> => {
      await alignment.source.enter(client);
      await lockUnmoved(client, { alignment, table });
    };
    const look = new TableLook({ client, ...table, renew }, alignment, { suspectsMax: limits.changesPerTable, signal });
    return await (work.isLooked ? look.keys(work.openKeys) : look.everything());
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Under the lock: is the source's table still what the snapshot saw? @throws TableMoved */
async function lockUnmoved(client: pg.ClientBase, { alignment, table }: Place): Promise<void> {
  const { from } = table.probe.mapping;
  await client.query(`LOCK TABLE ${quoteTable(from)} IN ACCESS SHARE MODE`);
  if (!guarded('verify-shape')) return;
  const [now] = await readShapes(alignment.present, [from]);
  if (now?.fingerprint !== table.shape.fingerprint)
    throw new TableMoved('the source table was truncated, rewritten or altered while it was compared');
}

function resultOf(works: readonly TableWork[]): VerifyResult {
  const tables = works.map((work) => work.verdict());
  const lsns = tables.flatMap(({ lsn }) => (lsn === null ? [] : [lsn]));
  return {
    at: { lsn: lsns[0] ?? null },
    tables,
    differences: tables.reduce((sum, table) => sum + table.missing + table.extra + table.different, 0),
    inconclusive: tables.filter((table) => table.inconclusive !== undefined).length,
  };
}
