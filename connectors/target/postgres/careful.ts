/**
 * The careful way through a round: table by table under savepoints. Guarantee: whatever order the source met its constraints in, the
 * batch ends in the source's state: first set-wise upserts, then, when a unique value moved between rows, all rows of the batch
 * deleted and inserted again; a row that the target still rejects is set aside or holds its table, as the file says, never the others, and
 * is named.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { ChunkBatch, Round, RoundOutcome, TableBatch, Work } from '#connectors/target/target.ts';
import type { ApplierOptions } from './apply.ts';
import { keyText } from './encode.ts';
import { refusalText } from './exploded-sql.ts';
import { distinctRuns, groupEntries } from './groups.ts';
import { offendingRow } from './offending-row.ts';
import type { BlockedChanges } from './blocked-rows.ts';
import { screen } from './screen.ts';
import { setAsideDeletes, setAsideInBatch, setAsideInChunk, setAsideKeys, setsAside, type SetAside, type Stop } from './set-aside.ts';
import { replaceAll, upsertAll, deleteKeys, type Findings } from './replace-rows.ts';
import { attempted, run } from './attempt.ts';
import { ConflictTally, isJudged, judgeBatch, judgeChunk } from './conflicts.ts';
import { withoutUnmapped } from './unmapped-rows.ts';
import {
  deleteAll,
  deletesLast,
  truncateTables,
  writeAdditions,
  writeChunk,
  writeDeletes,
  writeRemovals,
  writeSoftTruncates,
  type WriteOptions,
} from './table-writer.ts';
import type { StatementError } from './wire.ts';

/** Every use of a temporary table begins with emptying it: what an undone attempt left there is unknown. */
const REUSE: WriteOptions = { expectations: [], dirty: { has: () => true, add: () => undefined }, single: false };

interface Context extends SetAside {
  readonly tally: ConflictTally;
}

export async function applyCarefully(options: ApplierOptions, round: Round, blocked: BlockedChanges): Promise<RoundOutcome> {
  const findings: Findings = { held: [], missing: [], collided: [] };
  const context: Context = { options, blocked, found: [], tally: new ConflictTally() };
  for (const work of distinctRuns(round.work)) await applyRun(context, work, findings);
  const { counts } = context.tally;
  if (counts.size > 0) await run(options, () => context.tally.write(options.wire, options.name));
  return { ...findings, setAside: context.found, ...(counts.size > 0 && { conflicts: counts }) };
}

async function applyRun(context: Context, items: readonly Work[], findings: Findings): Promise<void> {
  const { options } = context;
  const work = admitted(context, items, findings).toSorted((a, b) => options.rank(a.table) - options.rank(b.table));
  const truncated = work.filter((item): item is TableBatch => item.kind === 'fold' && item.truncate);
  const emptied = truncated.filter(({ table }) => options.sqlOf(table).soft === undefined).map(({ table }) => table);
  if (emptied.length > 0) await truncateCarefully(options, emptied);
  if (truncated.length > emptied.length) await run(options, () => writeSoftTruncates(options, truncated));
  const written: Work[] = [];
  for (const item of work) {
    const judged = item.kind === 'fold' ? await judgeBatch(options, item, context.tally) : item;
    await applyItem(context, judged, findings);
    written.push(judged);
  }
  if (options.ordered) await deleteLast(context, written, findings);
}

/** What is left of tables that go on: of one held by an earlier run nothing goes further. */
function admitted(context: SetAside, items: readonly Work[], findings: Findings): readonly Work[] {
  const work: Work[] = [];
  for (const item of items) {
    if (findings.held.some((held) => held.table === item.table)) continue;
    const mapped = withoutUnmapped(context, screen(item, context.blocked));
    if ('held' in mapped) findings.held.push(mapped.held);
    else work.push(mapped.work);
  }
  return work;
}

/** Where foreign keys are checked, deletes come after all rows, from the referring tables up. */
async function deleteLast(context: SetAside, work: readonly Work[], findings: Findings): Promise<void> {
  const { options } = context;
  for (const item of work.toReversed()) {
    if (item.kind !== 'fold' || item.layout.key.length === 0 || findings.held.some((held) => held.table === item.table)) continue;
    if (!deletesLast(options, item.table)) continue;
    const { deletes } = groupEntries(item, true);
    let refused: Stop | undefined = await attempted(options, async () => deleteKeys(options, item, deletes));
    if (refused !== undefined && setsAside(item.table)) refused = await setAsideDeletes(context, item, deletes);
    if (refused !== undefined)
      findings.held.push({
        table: item.table,
        key: keyText(item.buffers[0]!, item.at[0]!, item.layout).join(', '),
        message: refused.message,
      });
  }
}

/** A table that others refer to cannot be truncated alone, and a role may lack the privilege: rows are deleted then. */
async function truncateCarefully(options: ApplierOptions, tables: readonly TableMapping[]): Promise<void> {
  const { wire } = options;
  const refused = await attempted(
    options,
    async () => void (await run(options, () => truncateTables(tables).forEach((sql) => wire.execute(sql)))),
  );
  if (refused === undefined) return;
  const last = tables.toSorted((a, b) => options.rank(b) - options.rank(a));
  await run(options, () => last.forEach((table) => wire.execute(deleteAll(table))));
}

/** A table that others refer to may not be truncated: its rows are deleted then. */
const MAY_NOT_TRUNCATE = /^(0A000|42501)$/;

async function applyItem(context: Context, item: Work, findings: Findings): Promise<void> {
  const { options } = context;
  let refused: StatementError | undefined;
  if (item.kind === 'keys') refused = await attempted(options, async () => void (await run(options, () => writeDeletes(options, item))));
  else if (item.kind === 'chunk') refused = await applyChunk(context, item, findings);
  else refused = await applyBatch(options, item, findings);
  if (item.kind === 'chunk' && item.truncate && MAY_NOT_TRUNCATE.test(refused?.sqlState ?? '')) {
    await truncateCarefully(options, [item.table]);
    return applyItem(context, { ...item, truncate: false }, findings);
  }
  if (refused === undefined) return;
  const stop = setsAside(item.table) ? await setAside(context, item, refused, findings) : refused;
  if (stop === undefined) return;
  const key = await offendingRow(options, item);
  const reason = stop === refused ? (key?.error ?? refused) : stop;
  findings.held.push({ table: item.table, key: key?.key ?? '', message: refusalText(item.table, reason) });
}

async function setAside(context: SetAside, item: Work, refused: StatementError, findings: Findings): Promise<Stop | undefined> {
  if (item.kind === 'keys') return setAsideKeys(context, item);
  if (item.kind === 'chunk') return setAsideInChunk(context, item);
  return setAsideInBatch(context, item, refused, async (rest) => applyBatch(context.options, rest, findings));
}

async function applyChunk({ options, tally }: Context, chunk: ChunkBatch, findings: Findings): Promise<StatementError | undefined> {
  if (isJudged(chunk.table) && !chunk.truncate && chunk.asked !== true) return judgeChunk(options, chunk, tally);
  const refused = await attempted(options, async () => void (await run(options, () => writeChunk(options, chunk, REUSE))));
  if (refused === undefined || chunk.mayExist || chunk.table.targetKey.length === 0) return refused;
  findings.collided.push(chunk.table);
  return attempted(options, async () => void (await run(options, () => writeChunk(options, { ...chunk, mayExist: true }, REUSE))));
}

async function applyBatch(options: ApplierOptions, batch: TableBatch, findings: Findings): Promise<StatementError | undefined> {
  if (batch.layout.key.length === 0) {
    return attempted(options, async () => {
      const loose = { ...batch, strict: false };
      await run(options, () => writeRemovals(options, loose, REUSE));
      await run(options, () => writeAdditions(options, loose, REUSE));
    });
  }
  const groups = groupEntries({ ...batch, strict: false }, options.ordered);
  // Never deleted and inserted again where foreign keys act: a cascade would take rows that the source still has.
  if (options.ordered) return attempted(options, async () => upsertAll(options, batch, groups, findings));
  if (groups.carries.length === 0) {
    const refused = await attempted(options, async () => upsertAll(options, batch, groups, findings));
    if (refused === undefined) return undefined;
  }
  return attempted(options, async () => replaceAll(options, { batch, groups, entries: groups.puts }, findings));
}
