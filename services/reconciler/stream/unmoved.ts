/**
 * A session in a snapshot, on one table. Guarantee: while its lock is held, the table is the one that the snapshot saw: not truncated, rewritten
 * or altered since, which an older snapshot would read as an empty or another table.
 */
import type pg from 'pg';
import { quoteTable } from '#schemas/table.ts';
import type { HeldSnapshot } from '#connectors/probe/postgres/held-snapshot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import type { Scan, TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { NotAligned } from './mirror-verdict.ts';

export interface SnapshotSide {
  readonly snapshot: HeldSnapshot;
  /** A session of no snapshot, for questions about the present. */
  readonly present: pg.ClientBase;
  readonly plan: DigestPlan;
}

/** @throws NotAligned */
export async function openScan(stack: AsyncDisposableStack, { snapshot, present, plan }: SnapshotSide, probe: TableProbe): Promise<Scan> {
  const { side } = snapshot;
  const table = side === 'source' ? probe.mapping.from : probe.mapping.to;
  const [shape] = await readShapes(snapshot.client, [table]);
  if (shape === undefined) throw new NotAligned('changed', `the ${side} has no table ${table.schema}.${table.name}`);
  if (shape.kind === 'p' && side === 'source')
    throw new NotAligned('unreadable', 'it is partitioned: a leaf that comes or goes changes rows without a message');
  const client = stack.adopt(await snapshot.session(), (session) => session.end().catch(() => undefined));
  const lock = async (): Promise<void> => {
    await client.query(`LOCK TABLE ${quoteTable(table)} IN ACCESS SHARE MODE`);
    const [now] = await readShapes(present, [table]);
    if (now?.fingerprint !== shape.fingerprint)
      throw new NotAligned('changed', `the ${side} table was truncated, rewritten or altered while it was read`);
  };
  await lock();
  const renew = async (): Promise<void> => {
    await snapshot.enter(client);
    await lock();
  };
  return { client, side, probe, shape, plan, renew };
}
