/**
 * A small migration that has run and been flipped, for what comes after: report, runbook, clean-up. The pipeline is the real one; the flips are their
 * records only, as services/control writes them.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { withState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationEvent } from '#schemas/migration/transitions.ts';
import { execute } from './application.ts';
import { type CommandRun, runInProcess } from './command-line.ts';
import { type PostgresServer, type PostgresVersion, startPostgres } from './postgres.ts';

export interface MovedShop extends AsyncDisposable {
  readonly server: PostgresServer;
  readonly source: string;
  readonly target: string;
  readonly directory: string;
  run(...args: readonly string[]): Promise<CommandRun>;
  /** One after the other. */
  apply(...events: readonly (readonly [event: MigrationEvent, details?: Readonly<Record<string, unknown>>])[]): Promise<void>;
}

const DDL = [
  'CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)',
  'CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, total numeric(12,2))',
];

/** `extra`: YAML beside the smallest file. */
export async function movedShop(extra = '', version: PostgresVersion = 18): Promise<MovedShop> {
  const server = await startPostgres({ version, settings: { wal_level: 'logical' } });
  const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
  await execute(
    source,
    ...DDL,
    `INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 200) g`,
    'INSERT INTO orders SELECT g, g % 200 + 1, g FROM generate_series(1, 1000) g',
  );
  await execute(target, ...DDL);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-moved-'));
  const file = `crossfade: 1\nname: shop\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\ntables:\n  - from: public.*\n${extra}`;
  writeFileSync(join(directory, 'migration.yaml'), file);
  const run = async (...args: readonly string[]): Promise<CommandRun> => runInProcess(args, { directory });
  const up = await run('up', '--until', 'caught-up', '--port', '0', '--json');
  if (up.exitCode !== 0) throw new Error(`the pipeline ended with ${up.exitCode}: ${up.stdout}${up.stderr}`);
  return {
    server,
    source,
    target,
    directory,
    run,
    apply: async (...events) => {
      const lease = await takeMigrationLease({ url: target, name: 'shop', holder: 'test' });
      try {
        for (const [event, details] of events)
          await lease.apply(event, { actor: 'Ada Lovelace', ...(details !== undefined && { details }) });
      } finally {
        await lease.release();
      }
    },
    [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
  };
}

const MARKER = { id: '0b7c6a1e-2f5d-4c1e-9a54-6d1f0e8b7a01', lsn: '0/1A2B3C4' };

/** As a flip notes it. */
export const CERTIFICATE = {
  gates: [
    { gate: 'lag', state: 'open', evidence: '0.2 s, limit 1 s' },
    { gate: 'reads', state: 'skipped', evidence: 'no read flag was ever set' },
  ],
  before: {
    summary: '1,200 rows of 2 tables are equal',
    tables: [
      { from: 'public.customers', to: 'public.customers', rowsSource: 200, rowsTarget: 200 },
      { from: 'public.orders', to: 'public.orders', rowsSource: 1000, rowsTarget: 1000 },
    ],
  },
  marker: MARKER,
  compare: { clean: true, summary: '14 keys, which had changed, are equal' },
  sequences: [{ sequence: 'public.orders_id_seq', was: '1001', set: '1034' }],
  lockWaitMs: 4,
  blockMs: 212,
  timings: {
    gates: 31.5,
    compare: 640,
    fence: 6.1,
    marker: 2.4,
    drain: 48,
    'final-compare': 120.2,
    sequences: 9,
    decide: 3.3,
    open: 11,
    finish: 4,
  },
} as const;

export const CUT_OVER: readonly (readonly [event: MigrationEvent, details?: Readonly<Record<string, unknown>>])[] = [
  ['cutover-begun', { gates: CERTIFICATE.gates }],
  ['decided', CERTIFICATE],
  ['finished', CERTIFICATE],
];

/** The rows that the fences of a cut-over and of the rollback after it leave, and a fence that sleeps. */
export async function leaveFences({ source, target }: Pick<MovedShop, 'source' | 'target'>): Promise<void> {
  for (const url of [source, target]) {
    await withState(url, 'shop', async () => Promise.resolve());
    await execute(
      url,
      `CREATE OR REPLACE FUNCTION crossfade.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$`,
      `CREATE TRIGGER crossfade_shop_row BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION crossfade.refuse_write('shop')`,
      `CREATE TRIGGER crossfade_shop_stm BEFORE TRUNCATE ON public.orders FOR EACH STATEMENT EXECUTE FUNCTION crossfade.refuse_write('shop')`,
    );
  }
}
