/**
 * The two comparisons of a mirror. Guarantee: every table that was chosen has a verdict, in the order given; each is of one snapshot, and what
 * cannot be aligned with it is inconclusive. Why the states are the same: head of stream-mirror.ts.
 */
import type pg from 'pg';
import type { Lsn } from '#schemas/lsn.ts';
import { pairId } from '#schemas/mapping/compiled-mapping.ts';
import { idOf } from '#schemas/reconcile/table-aggregate.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { rowsOf } from '#connectors/probe/postgres/computed-scan.ts';
import { HeldSnapshot, openSession, type Side } from '#connectors/probe/postgres/held-snapshot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readHeldKeys, readTableStates, readTargetState, type TableState } from '#connectors/probe/postgres/target-state.ts';
import type { ListedRow, Texts } from '#connectors/probe/postgres/table-scan.ts';
import { serverReason } from '../server-reason.ts';
import { parseVisibility } from '../visibility.ts';
import { compareSide } from './compare-side.ts';
import type { MirrorLimits } from './mirror-limits.ts';
import { NotAligned, type Equality, type MirrorVerdict } from './mirror-verdict.ts';
import type { Keepable } from './mirrored-tables.ts';
import type { MirrorState, TableMirror } from './table-mirror.ts';
import { openScan, type SnapshotSide } from './unmoved.ts';

export interface ComparedStores {
  readonly name: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly plan: DigestPlan;
  readonly limits: MirrorLimits;
  readonly tables: readonly TableMirror[];
  readonly refused: readonly (Keepable & { readonly kind: 'refused' })[];
  readonly isReading: () => boolean;
  /** The log was read to where it ended at the call; false: not in time. */
  readonly readToEnd: () => Promise<boolean>;
  /** The log was read to a marker that `write` puts into the source; false: not in time. */
  readonly readToMarker: (write: (prefix: string, content: string) => Promise<void>) => Promise<boolean>;
}

export async function compareWithTarget(stores: ComparedStores): Promise<readonly MirrorVerdict[]> {
  return compare(stores, { equality: 'log-target', side: 'target' }, async ({ snapshot }) => {
    const state = await readTargetState(snapshot.client, stores.name);
    const applied = state?.mode === 'consistent' ? state.applied : undefined;
    if (applied === undefined) throw new NotAligned('copying', 'the target does not show one source state yet: the copy is not complete');
    const states = new Map((await readTableStates(snapshot.client, stores.name)).map((one) => [pairId(one), one]));
    if (!(await stores.readToEnd())) throw new NotAligned('lag', 'the log was not read as far as the target shows it');
    return {
      lsn: applied,
      held: async ({ probe, texts }) => {
        requireFollowing(states.get(pairId(probe.mapping)));
        const keys = await readHeldKeys(snapshot.client, stores.name, probe.mapping);
        return new Set([...keys].map((key) => idOf(texts.key(JSON.parse(key) as Texts))));
      },
      stateOf: (table) => table.stateAt(applied),
    };
  });
}

function requireFollowing(state: TableState | undefined): void {
  if (state?.state === 'following') return;
  if (state?.state === 'held') throw new NotAligned('held', state.error ?? 'the table is held');
  throw new NotAligned('copying', state === undefined ? 'the table is not part of the migration yet' : `the table is ${state.state}`);
}

const MARK = 'SELECT pg_logical_emit_message(true, $1, $2)';

export async function compareWithSource(stores: ComparedStores): Promise<readonly MirrorVerdict[]> {
  return compare(stores, { equality: 'source-log', side: 'source' }, async ({ snapshot, present }) => {
    const seen = parseVisibility(snapshot.triple);
    const write = async (prefix: string, content: string): Promise<void> => void (await present.query(MARK, [prefix, content]));
    if (!(await stores.readToMarker(write))) throw new NotAligned('lag', 'the log was not read as far as the source had written');
    return { lsn: undefined, held: async () => new Set(), stateOf: (table) => table.stateSeenBy(seen) };
  });
}

interface Aligned {
  readonly lsn: Lsn | undefined;
  /** Digests of keys that the target has set aside. @throws NotAligned */
  readonly held: (table: TableMirror) => Promise<ReadonlySet<string>>;
  /** @throws NotAligned */
  readonly stateOf: (table: TableMirror) => MirrorState;
}

interface Sided {
  readonly equality: Equality;
  readonly side: Side;
}

async function compare(
  stores: ComparedStores,
  sided: Sided,
  align: (side: SnapshotSide) => Promise<Aligned>,
): Promise<readonly MirrorVerdict[]> {
  const { equality, side } = sided;
  const refused = stores.refused.map(({ mapping, why }) => verdictWithout({ mapping }, equality, { cause: 'unreadable', message: why }));
  try {
    await using stack = new AsyncDisposableStack();
    const url = side === 'source' ? stores.sourceUrl : stores.targetUrl;
    const present: pg.Client = stack.adopt(await openSession(url, side), (client) => client.end().catch(() => undefined));
    const snapshot = stack.use(await HeldSnapshot.take(url, side));
    const one: SnapshotSide = { snapshot, present, plan: stores.plan };
    const aligned = await align(one);
    const verdicts: MirrorVerdict[] = [];
    for (const table of stores.tables) verdicts.push(await compareTable(stores, table, { ...sided, one, aligned }));
    await snapshot.stillHeld();
    return [...verdicts, ...refused];
  } catch (error) {
    const reason = error instanceof NotAligned ? error.reason : serverReason(error);
    if (reason === undefined) throw error;
    return [...stores.tables.map(({ probe }) => verdictWithout(probe, equality, reason)), ...refused];
  }
}

async function compareTable(
  stores: ComparedStores,
  table: TableMirror,
  { equality, one, aligned }: Sided & { readonly one: SnapshotSide; readonly aligned: Aligned },
): Promise<MirrorVerdict> {
  const state = (): MirrorState => aligned.stateOf(table);
  try {
    if (!stores.isReading()) throw new NotAligned('lag', 'the log is not read any more');
    state();
    const held = await aligned.held(table);
    await using stack = new AsyncDisposableStack();
    const scan = await openScan(stack, one, table.probe);
    return await compareSide({
      equality,
      table,
      scan,
      state,
      held,
      others: (mask, buckets) => otherRows(stores, one, { table, mask, buckets }),
      samples: stores.limits.samples,
      lsn: aligned.lsn,
    });
  } catch (error) {
    const reason = error instanceof NotAligned ? error.reason : serverReason(error);
    if (reason === undefined) throw error;
    return verdictWithout(table.probe, equality, reason);
  }
}

interface Asked {
  readonly table: TableMirror;
  readonly mask: bigint;
  readonly buckets: readonly string[];
}

/** As they are now: only to find names. */
async function* otherRows(
  stores: ComparedStores,
  { snapshot, plan }: SnapshotSide,
  { table, mask, buckets }: Asked,
): AsyncGenerator<ListedRow> {
  const side = snapshot.side === 'source' ? 'target' : 'source';
  const url = side === 'source' ? stores.sourceUrl : stores.targetUrl;
  await using stack = new AsyncDisposableStack();
  const present: pg.Client = stack.adopt(await openSession(url, side), (client) => client.end().catch(() => undefined));
  const other = stack.use(await HeldSnapshot.take(url, side));
  yield* rowsOf(await openScan(stack, { snapshot: other, present, plan }, table.probe), { mask, names: buckets });
}

function verdictWithout(
  { mapping: { from, to } }: Pick<TableMirror['probe'], 'mapping'>,
  equality: Equality,
  inconclusive: Inconclusive,
): MirrorVerdict {
  return {
    from: `${from.schema}.${from.name}`,
    to: `${to.schema}.${to.name}`,
    equality,
    outcome: 'inconclusive',
    rows: 0,
    buckets: 0,
    differences: 0,
    sample: [],
    open: 0,
    held: 0,
    sums: [],
    lsn: null,
    inconclusive,
  };
}
