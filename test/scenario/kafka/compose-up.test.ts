/** docker-compose.yml by a real engine. Left out of a run, in one line, where no engine with the file's images answers (vitest.config.ts). */
import pg from 'pg';
import { expect, test, vi } from 'vitest';
import { formatLsn, type Lsn, parseLsn } from '#schemas/lsn.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { checkConfiguration, type ComposeProject, MIGRATION, ROOT, startProject } from './compose-project.ts';

const WAIT = { timeout: 120_000, interval: 500 };

test('docker-compose.yml is valid with each of its profiles', async () => {
  await checkConfiguration([]);
  await checkConfiguration(['load', 'monitoring']);
});

test('docker compose up moves the shop while it is open, and status on the host shows it', { timeout: 420_000 }, async () => {
  await using project = await startProject();
  await project.run('--profile', 'load', 'up', '--detach', 'shop');
  await vi.waitFor(async () => expect((await status(project)).phase).toBe('following'), WAIT);
  await project.run('--profile', 'load', 'stop', 'shop');
  const end = await currentLsn(project.sourceUrl);
  await vi.waitFor(async () => {
    const { applied } = await status(project);
    expect(parseLsn(applied.lsn ?? '0/0') >= end, `${applied.lsn} is not at ${formatLsn(end)} yet`).toBe(true);
  }, WAIT);
  const moved = await status(project);
  expect(moved).toMatchObject({ name: 'shop', phase: 'following', applied: { exact: true }, lag: { known: true } });
  expect(moved.tables.map((table) => table.phase)).toEqual(moved.tables.map(() => 'following'));
  for (const [source, target] of SAME_ROWS)
    expect(await digest(project.targetUrl, target), target).toBe(await digest(project.sourceUrl, source));
  const asked = await runInProcess(['status', '--json', '-f', MIGRATION, '--url', project.controlUrl], {
    environment: project.environment,
  });
  expect(envelopeOf(asked).result, asked.stdout).toMatchObject({ name: 'shop', phase: 'following' });
});

/** As an operator on the host asks: the file, and the addresses of the published ports. */
async function status({ environment }: ComposeProject): Promise<StatusResult> {
  const run = await runInProcess(['status', '--json', '-f', MIGRATION], { environment, directory: ROOT });
  expect(run.exitCode, run.stdout).toBe(0);
  return envelopeOf(run).result as StatusResult;
}

async function currentLsn(url: string): Promise<Lsn> {
  const [row] = await query(url, 'select pg_current_wal_lsn() as text');
  return parseLsn(row ?? '');
}

/** Number and digest of the rows that `columns from table` gives, as text. */
async function digest(url: string, columnsAndTable: string): Promise<string | undefined> {
  const [row] = await query(
    url,
    `select count(*) || ' ' || md5(coalesce(string_agg(r::text, E'\\n' order by r::text collate "C"), '')) as text from (select ${columnsAndTable}) r`,
  );
  return row;
}

async function query(url: string, sql: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ text: string }>(sql);
    return rows.map((row) => row.text);
  } finally {
    await client.end();
  }
}

/** The same rows on both sides, by plain SQL. Local times became instants: of those only the number of rows is asked. */
const SAME_ROWS: readonly (readonly [source: string, target: string])[] = [
  ['code, parent_code, label from tbl_cat', 'code, parent, name from app.categories'],
  [
    'cust_id, email, full_name, born, credit, prefs::jsonb, tags, grid, picture from tbl_cust',
    'id, email, name, birth_date, credit, preferences, tags, grid, picture from app.customers',
  ],
  ['acct_id, cust_id, balance from tbl_giro', 'id, customer_id, balance from app.current_accounts'],
  ['acct_id, cust_id, balance from tbl_savings', 'id, customer_id, balance from app.savings_accounts'],
  ['ord_id, cust_id, state, total, remark from tbl_ord', 'id, customer_id, status, total, remark from app.orders'],
  ['ord_id, pos, cat_code, qty, price, amount from tbl_ord_pos', 'order_id, line, category, quantity, price, amount from app.order_lines'],
  ['doc_id, title, hits, md5(body), scan from tbl_doc', 'id, title, hits, md5(body), scan from app.documents'],
  ['at, host, took, value, ratio, message from tbl_event', 'at, host, took, value, ratio, message from app.events'],
  ['pay_id, paid_on, ord_id, amount from tbl_payment', 'id, paid_on, order_id, amount from app.payments'],
  ['token, cust_id, vars, opened from tbl_session', 'token, customer_id, vars, opened_at from app.sessions'],
  ['currency, valid_from, valid, rate, flags from tbl_rate', 'currency, valid_from, valid, rate, flags from app.rates'],
  ['"select", "from", "Größe" from "Notes & ""Queries"""', 'id, origin, size from app.notes'],
  ['cust_id, points, since from tbl_bonus', 'customer_id, points, member_since from app.bonuses'],
  ['ping_id, at from tbl_ping', 'id, at from app.pings'],
];
