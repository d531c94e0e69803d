/** What the Kafka proofs wait for and compare. Guarantee: judged by SQL on both databases, without asking the services. */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#schemas/errors.ts';
import { execute, openSession } from '#test/support/application.ts';
import { historyOf } from '../kill/ledger.ts';
import { type KillTable, TABLES } from '../kill/tables.ts';
import { requireEqual } from '../proof-stage.ts';
import type { Fleet } from './fleet.ts';
import type { KafkaStage } from './kafka-stage.ts';

const PATIENCE_MS = 240_000;
const LOOK_EVERY_MS = 50;
/** The copy's last records become durable, with nobody struck. */
const SETTLE_MS = 2_000;

/** @returns the first op id drawn after the copy is over for good: from there on only the stream brings rows. */
export async function untilConsistent(stage: KafkaStage, fleet: Fleet): Promise<number> {
  const sql = `select 1 from crossfade.progress p where mode = 'consistent'
    and not exists (select from crossfade.table_progress t where t.name = p.name and state <> 'following')`;
  await until(stage, fleet, { sql, what: 'consistent' });
  await delay(SETTLE_MS);
  const [row] = await execute(stage.sourceUrl, `select nextval('op') as op`);
  return Number(row?.['op']);
}

export async function untilArrived(stage: KafkaStage, fleet: Fleet, op: string): Promise<void> {
  await until(stage, fleet, { sql: `select 1 from journal where op = ${op}`, what: 'caught up' });
  fleet.check();
}

async function until(stage: KafkaStage, fleet: Fleet, wanted: { readonly sql: string; readonly what: string }): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  await using target = await openSession(stage.targetUrl);
  while ((await target.query(wanted.sql).catch(() => [])).length === 0) {
    fleet.check();
    if (Date.now() > deadline) throw new Error(`not ${wanted.what} within ${PATIENCE_MS / 1000} s\n${fleet.logTails()}`);
    await delay(LOOK_EVERY_MS);
  }
}

/** @returns rows compared. @throws Error with what both sides did to the rows that differ */
export async function compare(stage: KafkaStage): Promise<number> {
  const tables = TABLES.map((table) => ({ source: table, target: table }));
  return requireEqual(stage, tables).catch(async (error: unknown) => {
    throw new Error(`${messageOf(error)}\n${await historyOf(stage, messageOf(error))}`, { cause: error });
  });
}

export function allFrom(op: number): Readonly<Record<KillTable, number>> {
  return { acct: op, item: op, pair: op, journal: op, keyless: op };
}
