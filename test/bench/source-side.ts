/** What a reader of the source leaves and shows there. Guarantee: found by the copy's label, which slot and publication bear in their names. */
import type { CopyOptions } from './contender.ts';
import { Database, waitUntil } from './database.ts';

type Labelled = Pick<CopyOptions, 'sourceUrl' | 'label'>;

const PATIENCE_MS = 60_000;
const POLL_MS = 20;

/** When the stream now open was opened, as epoch in milliseconds. */
export async function streamStart({ sourceUrl, label }: Labelled): Promise<number | undefined> {
  await using source = await Database.open(sourceUrl);
  const at =
    await source.value(`select extract(epoch from backend_start) * 1000 from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid
    where s.slot_name like '%${label}%'`);
  return at === undefined ? undefined : Number(at);
}

/** Until no stream is open, or one is. */
export async function untilSlotIs(active: boolean, { sourceUrl, label }: Labelled): Promise<void> {
  await using source = await Database.open(sourceUrl);
  const open = `select 1 from pg_replication_slots where slot_name like '%${label}%' and active`;
  await waitUntil(async () => ((await source.value(open)) !== undefined) === active, {
    what: `${label} ${active ? 'streaming' : 'stopped'}`,
    timeoutMs: PATIENCE_MS,
    everyMs: POLL_MS,
  });
}

export async function cleanSource(labelled: Labelled): Promise<void> {
  const { sourceUrl, label } = labelled;
  await untilSlotIs(false, labelled);
  await using source = await Database.open(sourceUrl);
  await source.run(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like '%${label}%'`);
  for (const { name } of await source.rows(`select quote_ident(pubname) as name from pg_publication where pubname like '%${label}%'`)) {
    await source.run(`drop publication ${name}`);
  }
}
