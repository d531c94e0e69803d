/**
 * What the dual writer of `crossfade/client` costs the application: the time of one write alone, and with the second store, while the stream runs. Guarantee: all ways of
 * writing take turns, so that what else the machine does slows each of them alike; both servers are durable; in the end both stores are equal, or it throws.
 */
import pg from 'pg';
import { createDualWriter, type DualWriter } from '#services/client/client.ts';
import { runCommand } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import type { DualStage } from '#schemas/flags/dual-stages.ts';
import { openProofStage, type ProofStage, requireEqual, requireVerified, untilFollowing } from '#test/prove/proof-stage.ts';
import { type DualRow, TableStore } from '#test/support/dual-writing-application.ts';
import { seeded } from '#test/support/random.ts';
import { waitUntil } from './database.ts';
import { quantile } from './measure.ts';

const KEYS = 10_000;
const WORKERS = 4;
const POLICIES = { plain: 'source-wins', versioned: { newerWins: ({ ver }: DualRow): number => ver } } as const;
type Table = keyof typeof POLICIES;
const DDL = Object.keys(POLICIES)
  .map(
    (table) =>
      `CREATE TABLE ${table} (id int PRIMARY KEY, ver int NOT NULL, body text NOT NULL); ALTER TABLE ${table} REPLICA IDENTITY FULL;`,
  )
  .join('\n');
const ROWS = Object.keys(POLICIES)
  .map((table) => `INSERT INTO ${table} SELECT i, 1, 'first' FROM generate_series(1, ${KEYS}) AS i;`)
  .join('\n');
const FILE = `heartbeatSeconds: 1
cutover: { strategy: dual-write }
tables:
  - { from: public.plain, conflict: source-wins }
  - { from: public.versioned, conflict: { newer-wins: ver } }
`;

interface Way {
  readonly name: string;
  readonly write: (key: string, row: DualRow) => Promise<unknown>;
  readonly ms: number[];
}

/** `seconds`: of each phase, before and behind the cut-over. */
export async function benchDualWrite(seconds: number): Promise<string> {
  const sides = { source: { durable: true }, target: { durable: true } };
  await using stage = await openProofStage({ name: 'dualbench', file: FILE, sourceSql: `${DDL} ${ROWS}`, targetSql: DDL, ...sides });
  await using pipeline = Pipeline.start(stage.pipeline);
  await untilFollowing(pipeline);
  const pools = [stage.sourceUrl, stage.targetUrl].map((connectionString) => new pg.Pool({ connectionString, max: WORKERS }));
  const [source, target] = pools as [pg.Pool, pg.Pool];
  const store = (pool: pg.Pool) => (table: Table) => new TableStore(pool, table);
  const [old, young] = [store(source), store(target)];
  const dual = async (table: Table, at: DualStage): Promise<DualWriter<DualRow>> =>
    createDualWriter<DualRow>({ stage: () => at, source: old(table), target: young(table), policy: POLICIES[table] });
  const way = (name: string, write: Way['write']): Way => ({ name, write, ms: [] });
  const through = async (name: string, table: Table, at: DualStage): Promise<Way> => {
    const writer = await dual(table, at);
    return way(name, async (key, row) => writer.write(key, row));
  };
  try {
    const before = [
      way('source alone, no dual writer', async (key, row) => old('plain').put(key, row)),
      await through('`off`', 'plain', 'off'),
      await through('`dualwrite`, `shadow`', 'plain', 'dualwrite'),
      await through('`dualwrite`, `shadow`, newerWins', 'versioned', 'dualwrite'),
    ];
    await inTurns(before, seconds);
    await requireSame(stage);
    for (const next of ['dualwrite', 'shadow']) await command(stage, ['flags', 'set', '--stage', next]);
    await command(stage, ['cutover', '--confirm', 'dualbench']);
    const behind = [
      way('target alone, no dual writer', async (key, row) => young('plain').put(key, row)),
      await through('`live`, `rampdown`: the fence refuses the second write', 'plain', 'live'),
      await through('`complete`', 'plain', 'complete'),
    ];
    await inTurns(behind, seconds);
    await requireSame(stage);
    return markdown([before, behind]);
  } finally {
    await Promise.all(pools.map(async (pool) => pool.end()));
  }
}

let version = 1;

/** Each worker has keys of its own: nobody waits for a row. */
async function inTurns(ways: readonly Way[], seconds: number): Promise<void> {
  const random = seeded(1);
  const end = Date.now() + seconds * 1000;
  const work = async (_: unknown, worker: number): Promise<void> => {
    for (let i = worker; Date.now() < end; i++) {
      const { write, ms } = ways[i % ways.length]!;
      const key = String(1 + worker + WORKERS * random.between(0, KEYS / WORKERS - 1));
      const row = { ver: ++version, body: `by ${worker}` };
      const began = performance.now();
      await write(key, row);
      ms.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
}

async function requireSame(stage: ProofStage): Promise<void> {
  await waitUntil(
    async () =>
      requireEqual(stage, [
        { source: 'plain', target: 'plain' },
        { source: 'versioned', target: 'versioned' },
      ]).then(
        () => true,
        () => false,
      ),
    { what: 'both stores to be equal', timeoutMs: 60_000, everyMs: 200 },
  );
  await requireVerified(stage);
}

async function command(stage: ProofStage, args: readonly string[]): Promise<void> {
  await waitUntil(
    async () => {
      const { code, stdout, stderr } = await runCommand(args, stage.pipeline);
      if (code !== 0 && code !== 10) throw new Error(`crossfade ${args.join(' ')}: ${stdout}${stderr}`);
      return code === 0;
    },
    { what: `the gates of ${args.join(' ')}`, timeoutMs: 60_000, everyMs: 500 },
  );
}

function markdown(phases: readonly (readonly Way[])[]): string {
  const lines = phases.flatMap((ways) => {
    const alone = quantile(sorted(ways[0]!), 0.5);
    return ways.map((one) => {
      const [p50, p99] = [quantile(sorted(one), 0.5), quantile(sorted(one), 0.99)];
      return `| ${one.name} | ${p50.toFixed(2)} | ${p99.toFixed(2)} | ${(p50 / alone).toFixed(2)} | ${one.ms.length} |`;
    });
  });
  return ['| a write | p50 ms | p99 ms | × alone (p50) | writes |', '|---|---|---|---|---|', ...lines].join('\n');
}

function sorted({ ms }: Way): readonly number[] {
  return ms.toSorted((a, b) => a - b);
}
