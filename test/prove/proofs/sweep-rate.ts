/**
 * What a clean comparison costs: CPU time of all processes of either server, so that what else the machine does counts little, and every
 * byte to and from them. `canonical-rate` measures the digest alone, in SQL and in TypeScript; this is `verify` from end to end. On a core slower
 * than the one that the figure was met on, the share of a yardstick is judged in its place (../sweep/yardstick.ts); the figures say so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '#connectors/postgres/session.ts';
import { chooseRanges } from '#connectors/probe/postgres/choose-ranges.ts';
import type { KeyRange } from '#schemas/reconcile/key-range.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { cpuSeconds } from '#test/bench/usage.ts';
import { execute } from '#test/support/application.ts';
import type { PostgresServer } from '#test/support/postgres.ts';
import { type Proof, Skipped } from '../proof.ts';
import { openStillMigration, type StillMigration } from '../sweep/still-migration.ts';
import { backendSeconds, passedBy, yardstickSql } from '../sweep/yardstick.ts';

/** Issue 6 demands it of a quiet core. The small form runs beside other tests, on so few rows that connecting counts. */
const LEAST_ROWS_PER_SECOND = { full: 500_000, small: 100_000 } as const;
const BYTES_MAX = { full: 10, small: 60 } as const;
const ROWS = { full: 2_000_000, small: 200_000 } as const;
const RUNS = { full: 5, small: 2 } as const;

const COLUMNS = 'id bigint PRIMARY KEY, customer integer, name text, amount numeric(12,2), created timestamptz, note varchar(80)';

function tableSql(name: string, rows: number): string {
  return `CREATE TABLE ${name} (${COLUMNS});
    INSERT INTO ${name} SELECT i, i % 5000, 'customer ' || i, (i % 100000) / 100.0, '2024-01-01'::timestamptz + i * interval '1.234567 s',
      CASE WHEN i % 10 > 0 THEN md5(i::text) END FROM generate_series(1, ${rows}) i;`;
}

export const sweepRateProof: Proof = {
  name: 'sweep-rate',
  claim:
    'verify compares at least 0.5 M rows/s per core of either server, whole or by key ranges, and moves at most 10 bytes per 1,000 rows',
  expectedSeconds: 90,
  needsQuiet: true,
  run: async ({ size, say }) => {
    await using migration = await openStillMigration(`${tableSql('payment', ROWS[size])} ${tableSql('single', 1)}`);
    const figures: Record<string, number | string> = {};
    const refused: string[] = [];
    const fixed = await cost(migration, { name: 'single', rows: 1, runs: RUNS[size] });
    figures['fixed, bytes'] = fixed.bytes;
    const ranges = await cut(migration);
    for (const [how, parts] of [
      ['whole', undefined],
      ['ranges', ranges],
    ] as const) {
      const found = await cost(migration, { name: 'payment', rows: ROWS[size], runs: RUNS[size], ...(parts && { parts }) });
      const yardstick = ROWS[size] / found.yardstick;
      figures[`${how}: yardstick, rows/s of CPU`] = Math.round(yardstick);
      for (const side of ['source', 'target'] as const) {
        const rate = ROWS[size] / found[side];
        const by = passedBy(rate, yardstick, LEAST_ROWS_PER_SECOND[size]);
        figures[`${how}: ${side} rows/s of CPU`] = Math.round(rate);
        figures[`${how}: ${side} passed by`] = by ?? 'nothing';
        if (by === undefined) refused.push(`${how}, ${side}: too slow`);
      }
      figures[`${how}: rows/s on the clock`] = Math.round(ROWS[size] / found.elapsed);
      const bytes = Math.round(((found.bytes - fixed.bytes) / ROWS[size]) * 1e5) / 100;
      figures[`${how}: bytes per 1,000 rows`] = bytes;
      if (bytes > BYTES_MAX[size]) refused.push(`${how}: too much moved`);
    }
    figures['one difference, bytes per 1,000 rows'] = await dirtyBytes(migration, ROWS[size], fixed.bytes);
    say(JSON.stringify(figures));
    if (refused.length > 0) throw Object.assign(new Error(refused.join('; ')), { figures });
    return figures;
  },
};

async function cut({ sourceUrl, mapping }: StillMigration): Promise<readonly KeyRange[]> {
  const client = await connect(sourceUrl, { applicationName: 'prove', role: 'source' });
  try {
    const ranges = await chooseRanges(
      client,
      mapping.tables.find((table) => table.to.name === 'payment')!,
    );
    if (ranges === undefined || ranges.length < 10) throw new Error(`${ranges?.length} ranges`);
    return ranges;
  } finally {
    await client.end();
  }
}

interface Costing {
  readonly name: string;
  readonly rows: number;
  readonly runs: number;
  readonly parts?: readonly KeyRange[];
}

interface Cost {
  /** Seconds. */
  readonly source: number;
  readonly target: number;
  /** Of the source's rows, in a session of its own. */
  readonly yardstick: number;
  readonly elapsed: number;
  readonly bytes: number;
}

/** The least of some runs, in turn with the yardstick. */
async function cost(migration: StillMigration, costing: Costing): Promise<Cost> {
  const settings = { max_parallel_workers_per_gather: '0', jit: 'off' };
  const client = await connect(migration.sourceUrl, { applicationName: 'prove', role: 'source', settings });
  const costs: Cost[] = [];
  try {
    for (let run = 0; run < costing.runs; run++) {
      const compared = await costOnce(migration, costing);
      const yardstick = await backendSeconds(client, async () => client.query(yardstickSql(`public.${costing.name}`)));
      costs.push({ ...compared, yardstick });
    }
  } finally {
    await client.end();
  }
  const least = (pick: (one: Cost) => number): number => Math.min(...costs.map(pick));
  return {
    source: least((one) => one.source),
    target: least((one) => one.target),
    yardstick: least((one) => one.yardstick),
    elapsed: least((one) => one.elapsed),
    bytes: least((one) => one.bytes),
  };
}

async function costOnce(migration: StillMigration, { name, rows, parts }: Costing): Promise<Omit<Cost, 'yardstick'>> {
  const tables = (table: TableMapping): boolean => table.to.name === name;
  const [here, there] = [await cpu(migration.source), await cpu(migration.target)];
  const [bytes, startMs] = [migration.bytes(), performance.now()];
  const result = await migration.verify({ tables, ...(parts && { parts: () => parts }) });
  if (result.differences > 0 || result.inconclusive > 0 || result.tables[0]!.rowsTarget !== rows) throw new Error(JSON.stringify(result));
  const elapsed = (performance.now() - startMs) / 1000;
  return {
    source: (await cpu(migration.source)) - here,
    target: (await cpu(migration.target)) - there,
    elapsed,
    bytes: migration.bytes() - bytes,
  };
}

const SETTLE_MS = 30;
const READINGS = 4;

/** Of the server with all its processes, those that ended included: one that ends while it is read can be missed. */
async function cpu({ pid }: PostgresServer): Promise<number> {
  let most = 0;
  for (let reading = 0; reading < READINGS; reading++) {
    await delay(SETTLE_MS);
    const seconds = pid === undefined ? undefined : cpuSeconds(pid);
    if (seconds === undefined) throw new Skipped('the CPU time of another process can be read on Linux only');
    most = Math.max(most, seconds);
  }
  return most;
}

async function dirtyBytes(migration: StillMigration, rows: number, fixedBytes: number): Promise<number> {
  const id = Math.floor(rows / 3);
  await execute(migration.targetUrl, `UPDATE payment SET note = 'corrupt' WHERE id = ${id}`);
  const before = migration.bytes();
  const { differences, tables } = await migration.verify({ tables: (table) => table.to.name === 'payment' });
  const [sample] = tables[0]!.sample;
  if (differences !== 1 || sample?.key?.['id'] !== String(id) || sample.columns.join(',') !== 'note')
    throw new Error(JSON.stringify(tables));
  return Math.round(((migration.bytes() - before - fixedBytes) / rows) * 1e5) / 100;
}
