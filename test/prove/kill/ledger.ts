/** What the target's ledger says. Guarantee: judged by SQL over what was committed, without asking the pipeline. */
import { execute } from '#test/support/application.ts';
import { FIRST_STREAMED_OP, type KillTable, TABLES } from './tables.ts';

export interface LedgerFigures {
  /** Row versions that the ledger saw in all. */
  readonly entries: number;
  /** Distinct op ids of the stream among those that the rule covers. */
  readonly strictOps: number;
  /** Op ids committed by two target transactions though only the stream could bring them: must be empty. */
  readonly committedTwice: readonly string[];
  /** Initial rows brought again by a chunk that was read again: harmless, and counted. */
  readonly repeatedChunkRows: number;
  /** Most times that one initial row was brought. */
  readonly deliveriesMax: number;
}

/**
 * @param strictFrom per table: op ids from here on were written after the table's last chunk was read, so that only the stream brings
 * them. Below it a row may come by its chunk and by the stream, both rightly.
 */
export async function readLedger(targetUrl: string, strictFrom: Readonly<Record<KillTable, number>>): Promise<LedgerFigures> {
  const twice: string[] = [];
  let strictOps = 0;
  for (const table of TABLES) {
    const from = Math.max(strictFrom[table], FIRST_STREAMED_OP);
    const [count] = await execute(targetUrl, `select count(distinct op) as n from ledger where table_name = '${table}' and op >= ${from}`);
    strictOps += Number(count?.['n']);
    const rows = await execute(
      targetUrl,
      `select op, count(distinct xid) as times, string_agg(distinct xid::text, ', ') as xids from ledger where table_name = '${table}' and op >= ${from}
       group by op having count(distinct xid) > 1 order by op limit 20`,
    );
    for (const row of rows) twice.push(`${table} op ${row['op']}: ${row['times']} times, in transactions ${row['xids']}`);
  }
  const [chunks] = await execute(
    targetUrl,
    `select coalesce(sum(times - 1), 0) as repeated, coalesce(max(times), 0) as most from
       (select count(distinct xid) as times from ledger where op < ${FIRST_STREAMED_OP} and table_name <> 'keyless' group by table_name, op) x`,
  );
  const [all] = await execute(targetUrl, 'select count(*) as n from ledger');
  return {
    entries: Number(all?.['n']),
    strictOps,
    committedTwice: twice,
    repeatedChunkRows: Number(chunks?.['repeated']),
    deliveriesMax: Number(chunks?.['most']),
  };
}
