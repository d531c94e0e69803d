/**
 * Readers of the target during a transfer workload. Every source transaction moves money between two tables, sometimes pays some in, and
 * writes the new total and its own number into a third: a state that the source had satisfies a + b = total, and numbers never go back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute, openSession } from '#test/support/application.ts';
import { openProofStage, type ProofStage, requireEqual, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';

const SHAPES = `
create table giro (id integer primary key, balance bigint not null);
create table savings (id integer primary key, balance bigint not null);
create table bank (id integer primary key, total bigint not null, state bigint not null);`;

const ACCOUNTS = 500;

const SOURCE = `${SHAPES}
insert into giro select i, 1000 from generate_series(1, ${ACCOUNTS}) i;
insert into savings select i, 1000 from generate_series(1, ${ACCOUNTS}) i;
insert into bank values (1, ${ACCOUNTS * 2000}, 0);
create table control (stop boolean not null);
insert into control values (false);
create procedure trade(seed float8) language plpgsql as $$
declare amount int; paid int; begin
  perform setseed(seed);
  loop
    exit when (select stop from control);
    amount := floor(random() * 100); paid := case when random() < 0.2 then floor(random() * 50) else 0 end;
    -- The bank's row first: it orders the transactions, and no two writers wait for each other in a circle.
    update bank set total = total + paid, state = state + 1;
    update giro set balance = balance - amount where id = (select 1 + floor(random() * ${ACCOUNTS})::int);
    update savings set balance = balance + amount + paid where id = (select 1 + floor(random() * ${ACCOUNTS})::int);
    commit;
    perform pg_sleep(random() * 0.004);
  end loop; end $$;`;

const LOOK = `select (select sum(balance) from giro) + (select sum(balance) from savings) as sum, (select total from bank) as total, (select state from bank) as state`;
const READERS = 2;
const TABLES = ['giro', 'savings', 'bank'];
const FILE = `tables:\n${TABLES.map((table) => `  - from: public.${table}`).join('\n')}`;

export const moneyTransfersProof: Proof = {
  name: 'money-transfers',
  claim: 'readers of the target never see a sum that the source did not have, through a SIGKILL too',
  expectedSeconds: 90,
  run: runMoneyTransfers,
};

async function runMoneyTransfers(context: ProofContext): Promise<Figures> {
  const seconds = context.size === 'full' ? 60 : 5;
  await using stage = await openProofStage({ name: 'money', file: FILE, sourceSql: SOURCE, targetSql: SHAPES });
  const writers = [0.1, 0.2].map(async (base) => execute(stage.sourceUrl, `call trade(${base + (context.seed % 100) / 1000})`));
  try {
    const readers = new AbortController();
    let seen: readonly Seen[];
    {
      await using first = Pipeline.start(stage.pipeline);
      await untilFollowing(first);
      const reading = Promise.all(Array.from({ length: READERS }, async () => read(stage.targetUrl, readers.signal)));
      reading.catch(() => undefined); // thrown below
      await delay((seconds * 1000) / 2);
      await first.kill();
      await using second = Pipeline.start(stage.pipeline);
      await untilFollowing(second);
      await delay((seconds * 1000) / 2);
      await stopWriters(stage, writers);
      await untilSame(stage);
      readers.abort();
      seen = await reading;
      await second.stop();
    }
    await requireEqual(
      stage,
      TABLES.map((table) => ({ source: table, target: table })),
    );
    const [bank] = await execute(stage.sourceUrl, 'select state from bank');
    return {
      'source states': Number(bank?.['state']),
      looks: total(seen, 'looks'),
      'different states seen': total(seen, 'states'),
      'wrong sums': 0,
    };
  } finally {
    await stopWriters(stage, writers);
  }
}

interface Seen {
  readonly looks: number;
  readonly states: number;
}

/** @throws Error at the first sum that the source never had. */
async function read(url: string, signal: AbortSignal): Promise<Seen> {
  await using session = await openSession(url);
  const states = new Set<string>();
  let looks = 0;
  let last = -1n;
  while (!signal.aborted) {
    const [row] = await session.query(LOOK);
    const state = BigInt(row?.['state'] ?? -1);
    if (row?.['sum'] !== row?.['total'])
      throw new Error(`at state ${state} the target's accounts add up to ${row?.['sum']}, the source had ${row?.['total']}`);
    if (state < last) throw new Error(`the target went back from state ${last} to ${state}`);
    last = state;
    looks++;
    states.add(String(state));
    await delay(1);
  }
  return { looks, states: states.size };
}

async function stopWriters(stage: ProofStage, writers: readonly Promise<unknown>[]): Promise<void> {
  await execute(stage.sourceUrl, 'update control set stop = true');
  await Promise.all(writers);
}

async function untilSame(stage: ProofStage): Promise<void> {
  const deadline = Date.now() + 60_000;
  const [source] = await execute(stage.sourceUrl, 'select state from bank');
  for (;;) {
    const [target] = await execute(stage.targetUrl, 'select state from bank');
    if (target?.['state'] === source?.['state']) return;
    if (Date.now() > deadline) throw new Error(`the target stays at state ${target?.['state']}, the source is at ${source?.['state']}`);
    await delay(20);
  }
}

function total(seen: readonly Seen[], field: keyof Seen): number {
  return seen.reduce((sum, one) => sum + one[field], 0);
}
