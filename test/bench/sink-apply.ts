/**
 * The sink alone: frames written by hand into an embedded log, applied to a real server. `node test/bench/sink-apply.ts [WORKLOAD…]`
 * prints changes (or rows) per second and the CPU time of this process per change; `--cpu-prof` shows where it goes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { chunkFrame, updateFrame, insertFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type SinkHarness } from '#test/support/sink-harness.ts';
import { startPostgres } from '#test/support/postgres.ts';

const DDL = `
  CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
  CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
  CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
  CREATE TABLE pgbench_history (id bigint PRIMARY KEY, tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));`;
const ACCOUNTS = 1_000_000;
const TRANSACTIONS = 75_000;
const BULK_ROWS = 300_000;
const CHUNK_ROWS = 50_000;
const FILLER = ' '.repeat(84);

let seed = 42;
function random(below: number): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed % below;
}

async function fill(harness: SinkHarness): Promise<void> {
  await harness.rows(`SELECT 1 FROM (SELECT 1) x`);
  for (const sql of [
    `INSERT INTO new.pgbench_branches SELECT i, 0, '' FROM generate_series(1, 10) i`,
    `INSERT INTO new.pgbench_tellers SELECT i, i / 10, 0, '' FROM generate_series(1, 100) i`,
    `INSERT INTO new.pgbench_accounts SELECT i, i / 100000, 0, '' FROM generate_series(1, ${ACCOUNTS}) i`,
    'VACUUM ANALYZE',
    'CHECKPOINT',
  ]) {
    await harness.rows(sql);
  }
}

async function tpcb(harness: SinkHarness): Promise<number> {
  const [branches, tellers, accounts, history] = ['branches', 'tellers', 'accounts', 'history'].map((name) =>
    harness.table(`pgbench_${name}`),
  );
  await harness.follow(branches!, tellers!, accounts!, history!);
  await harness.log.transaction(branches!.relation, tellers!.relation, accounts!.relation, history!.relation);
  let many: Buffer[][] = [];
  for (let i = 1; i <= TRANSACTIONS; i++) {
    const [aid, tid, bid, delta] = [1 + random(ACCOUNTS), 1 + random(100), 1 + random(10), random(10_000) - 5_000];
    many.push([
      updateFrame(accounts!.table.oid, [aid, 1, delta, FILLER]),
      updateFrame(tellers!.table.oid, [tid, 1, i, FILLER]),
      updateFrame(branches!.table.oid, [bid, i, `${FILLER}    `]),
      insertFrame(history!.table.oid, [i, tid, bid, aid, delta, '2026-01-01 00:00:00.123456', null]),
    ]);
    if (many.length === 500 || i === TRANSACTIONS) {
      await harness.log.transactions(many);
      many = [];
    }
  }
  return TRANSACTIONS * 4;
}

async function bulk(harness: SinkHarness): Promise<number> {
  const accounts = harness.table('pgbench_accounts');
  await harness.follow(...['branches', 'tellers', 'accounts', 'history'].map((name) => harness.table(`pgbench_${name}`)));
  const frames: Buffer[] = [accounts.relation];
  for (let i = 1; i <= BULK_ROWS; i++) frames.push(updateFrame(accounts.table.oid, [i, 1, i, FILLER]));
  const all = harness.log.frames(frames);
  for (let at = 0; at < all.length; at += 8_000) await harness.log.append(all.slice(at, at + 8_000));
  return BULK_ROWS;
}

async function copy(harness: SinkHarness): Promise<number> {
  const accounts = harness.table('pgbench_accounts');
  await harness.log.state(accounts.table, 'copying');
  const columns = ['aid', 'bid', 'abalance', 'filler'];
  for (let from = 1; from <= ACCOUNTS; from += CHUNK_ROWS) {
    const rows = Array.from({ length: CHUNK_ROWS }, (_, i) => [from + i, 1, 0, FILLER]);
    await harness.log.transaction(chunkFrame({ schema: 'old', table: 'pgbench_accounts', columns }, rows));
  }
  await harness.follow(...['branches', 'tellers', 'accounts', 'history'].map((name) => harness.table(`pgbench_${name}`)));
  return ACCOUNTS;
}

/** One TPC-B transaction every 2 ms; milliseconds from its append (durable in the log) to its commit on the target. */
async function latency(harness: SinkHarness): Promise<void> {
  const [branches, tellers, accounts, history] = ['branches', 'tellers', 'accounts', 'history'].map((name) =>
    harness.table(`pgbench_${name}`),
  );
  await harness.follow(branches!, tellers!, accounts!, history!);
  const waiting: { readonly end: bigint; readonly at: number }[] = [];
  const taken: number[] = [];
  harness.start({
    onApplied: ({ lsn }) => {
      while (waiting[0] !== undefined && waiting[0].end <= lsn) taken.push(performance.now() - waiting.shift()!.at);
    },
  });
  await harness.log.transaction(branches!.relation, tellers!.relation, accounts!.relation, history!.relation);
  await harness.applied();
  const start = performance.now();
  for (let i = 1; i <= 2_500; i++) {
    while (performance.now() < start + i * 2) await new Promise((resolve) => setTimeout(resolve, 1));
    const at = performance.now();
    void harness.log.transaction(
      updateFrame(accounts!.table.oid, [1 + random(ACCOUNTS), 1, i, FILLER]),
      updateFrame(tellers!.table.oid, [1 + random(100), 1, i, FILLER]),
      updateFrame(branches!.table.oid, [1 + random(10), i, `${FILLER}    `]),
      insertFrame(history!.table.oid, [i, 1, 1, 1, i, '2026-01-01 00:00:00.123456', null]),
    );
    waiting.push({ end: harness.log.end, at });
  }
  await harness.applied();
  taken.sort((a, b) => a - b);
  const at = (share: number): number => Number(taken[Math.floor(taken.length * share)]!.toFixed(2));
  console.log(JSON.stringify({ name: 'latency', count: taken.length, p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99) }));
}

/** CPU seconds of the server's processes, the ended ones included. The load of other programs on the machine does not change it. */
function serverCpuSeconds(postmaster: number): number {
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
        .map(Number);
      if (Number(pid) === postmaster) ticks += fields[11]! + fields[12]! + fields[13]! + fields[14]!;
      else if (fields[1] === postmaster) ticks += fields[11]! + fields[12]!;
    } catch {
      continue;
    }
  }
  return ticks / 100;
}

const WORKLOADS = { tpcb, bulk, copy, latency } as const;

const names = process.argv.slice(2).filter((name): name is keyof typeof WORKLOADS => name in WORKLOADS);
await using server = await startPostgres({
  version: 18,
  settings: {
    shared_buffers: '512MB',
    max_wal_size: '4GB',
    checkpoint_timeout: '30min',
    wal_level: 'logical',
    ...(process.env['FSYNC'] === '1' && { fsync: 'on' }),
  },
});
for (const name of names.length > 0 ? names : (Object.keys(WORKLOADS) as (keyof typeof WORKLOADS)[])) {
  const url = await server.createDatabase(`bench_${name}`);
  const harness = await sinkHarness({
    url,
    ddl: DDL,
    existing: name === 'copy' ? 'refuse' : 'merge',
    sink: { batchRows: Number(process.env['BATCH'] ?? 20_000), parallel: 2 },
  });
  if (name !== 'copy') await fill(harness);
  const changes = await WORKLOADS[name](harness);
  if (changes === undefined) {
    await harness[Symbol.asyncDispose]();
    continue;
  }
  const cpu = process.cpuUsage();
  const serverCpu = serverCpuSeconds(server.pid!);
  const start = performance.now();
  harness.start();
  await harness.applied();
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const micros = (used.user + used.system) / changes;
  console.log(
    JSON.stringify({
      name,
      changes,
      seconds: Number(seconds.toFixed(2)),
      perSecond: Math.round(changes / seconds),
      cpuMicrosPerChange: Number(micros.toFixed(2)),
      serverMicrosPerChange: Number((((serverCpuSeconds(server.pid!) - serverCpu) * 1e6) / changes).toFixed(2)),
      rssMb: Math.round(process.memoryUsage.rss() / 1e6),
    }),
  );
  await harness[Symbol.asyncDispose]();
}
