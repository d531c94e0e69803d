/** What the target's ledger says. Guarantee: judged by SQL over what was committed, without asking the pipeline. */
import { execute } from '#test/support/application.ts';
import type { ProofStage } from '../proof-stage.ts';
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
 * @param strictFrom per table: op ids from here on were written after the table's last chunk was recorded as finished, so that only the
 * stream brings them. Below it a row may come by its chunk and by the stream, both rightly.
 */
export async function readLedger(targetUrl: string, strictFrom: Readonly<Record<KillTable, number>>): Promise<LedgerFigures> {
  const twice: string[] = [];
  let strictOps = 0;
  for (const table of TABLES) {
    const from = Math.max(strictFrom[table], FIRST_STREAMED_OP);
    const [count] = await execute(
      targetUrl,
      `select count(distinct op) as n from ledger where what <> 'DELETE' and table_name = '${table}' and op >= ${from}`,
    );
    strictOps += Number(count?.['n']);
    const rows = await execute(
      targetUrl,
      `select op, count(distinct xid) as times, string_agg(distinct xid::text, ', ') as xids from ledger
        where what <> 'DELETE' and table_name = '${table}' and op >= ${from}
        group by op having count(distinct xid) > 1 order by op limit 20`,
    );
    for (const row of rows) twice.push(`${table} op ${row['op']}: ${row['times']} times, in transactions ${row['xids']}`);
  }
  const [chunks] = await execute(
    targetUrl,
    `select coalesce(sum(times - 1), 0) as repeated, coalesce(max(times), 0) as most from
       (select count(distinct xid) as times from ledger where what <> 'DELETE' and op < ${FIRST_STREAMED_OP} and table_name <> 'keyless' group by table_name, op) x`,
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

const KEYS_MAX = 3;

/** What both sides did to the rows that a comparison named (`only on the …: (key,…)`), for whoever looks for the cause. */
export async function historyOf(stage: ProofStage, comparison: string): Promise<string> {
  const keys = [...comparison.matchAll(/only on the \w+: \((\d+),/g)].map((match) => match[1] ?? '');
  const lines: string[] = [];
  for (const key of [...new Set(keys)].slice(0, KEYS_MAX)) {
    const source = await execute(
      stage.sourceUrl,
      `select format('source %s %s lsn %s xid %s: %s -> %s', at::time, what, lsn, xid, was, is_now) as line from history
       where was like '(${key},%' or is_now like '(${key},%' order by at`,
    );
    const target = await execute(
      stage.targetUrl,
      `select format('target %s %s xid %s: %s', at::time, what, xid, row_text) as line from ledger where row_text like '(${key},%' order by at`,
    );
    lines.push(...[...source, ...target].map((row) => row['line'] ?? ''));
  }
  return lines.join('\n');
}
