/** The real Debezium's topics as our input: through our transformers and our sink the target comes to be the source. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { messageOf } from '#schemas/errors.ts';
import { CLI, Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { loadSql, type ShopSize } from '#services/demo/shop/load.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runChild } from '#test/support/command-line.ts';
import { type Connect, type ConnectorConfig, startConnect } from '#test/support/kafka/connect.ts';
import { avroConverters, debeziumSource, JSON_WITH_SCHEMA } from '#test/support/kafka/debezium.ts';
import { describeWithConnect } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka, sharedRegistry } from '#test/support/kafka/shared-servers.ts';
import { type PostgresServer, startPostgres } from '#test/support/postgres.ts';

const WAIT = { timeout: 60_000, interval: 250 };
const LONG_MS = 240_000;
const SEED = 5;
const SHOP = join(CLI, '..', '..', 'demo', 'shop');
const CHINOOK = join(CLI, '..', '..', '..', '..', 'shared', 'data', 'chinook.sql');
const SIZE: ShopSize = { customers: 60, orders: 80, documents: 8, events: 10, categories: 20, rates: 10 };
const SERVICES = ['reader', 'transformer', 'sink'];

/** The connector stores its offsets so seldom: what a kill repeats is what came since. */
const OFFSETS_EVERY_MS = 12_000;

interface Entry {
  readonly from: string;
  readonly to: string;
  readonly drop?: readonly string[];
}

/** Tables of the shop, and what of them is compared: here as the source has it, there as the target. Without the table without a key. */
const SHOP_COLUMNS: Readonly<Record<string, readonly [ours: string, theirs: string]>> = {
  tbl_cat: ['code, parent_code, label', 'code, parent, name'],
  tbl_cust: [
    `cust_id, email, full_name, born, created AT TIME ZONE 'Europe/Berlin', credit, prefs::jsonb, tags, picture`,
    'id, email, name, birth_date, created_at, credit, preferences, tags, picture',
  ],
  tbl_ord: ['ord_id, cust_id, state, total, remark', 'id, customer_id, status, total, remark'],
  tbl_ord_pos: ['ord_id, pos, cat_code, qty, price, amount', 'order_id, line, category, quantity, price, amount'],
  tbl_doc: ['doc_id, title, hits, body, scan', 'id, title, hits, body, scan'],
  tbl_payment: ['pay_id, paid_on, ord_id, amount', 'id, paid_on, order_id, amount'],
  tbl_giro: ['acct_id, cust_id, balance', 'id, customer_id, balance'],
  tbl_savings: ['acct_id, cust_id, balance', 'id, customer_id, balance'],
  tbl_session: ['token, cust_id, vars, opened', 'token, customer_id, vars, opened_at'],
  // Zeros at the end are not the connector's business.
  tbl_rate: ['currency, valid_from, valid, trim_scale(rate)', 'currency, valid_from, valid, trim_scale(rate)'],
};

/** What the connector cannot carry (docs/wire.md); `check` refuses it. */
const SHOP_DROPS: Readonly<Record<string, readonly string[]>> = { tbl_cust: ['grid'], tbl_rate: ['flags'] };

/** What the connector's decimals have no form for. */
const FOR_DEBEZIUM = `UPDATE tbl_cust SET credit = 1 WHERE credit = 'NaN'`;

const SHOP_CHANGES = [
  `BEGIN; UPDATE tbl_cust SET full_name = full_name || '!', prefs = NULL WHERE cust_id % 3 = 0; DELETE FROM tbl_ord WHERE ord_id % 7 = 0;
   INSERT INTO tbl_ord (cust_id, placed, state) SELECT 1, '2026-01-01', 'returned' FROM generate_series(1, 10);
   UPDATE tbl_cat SET code = 'new-' || code WHERE code IN ('cat-3', 'cat-11'); COMMIT`,
  // An unchanged TOAST value: Debezium's placeholder stands in its place.
  `UPDATE tbl_doc SET hits = hits + 1; UPDATE tbl_payment SET paid_on = paid_on + 400 WHERE pay_id < 5; DELETE FROM tbl_doc WHERE doc_id = 2;
   UPDATE tbl_ord SET ord_id = ord_id + 100000 WHERE state = 'returned'; DELETE FROM tbl_giro WHERE acct_id > 40;
   UPDATE tbl_cust SET born = 'infinity' WHERE cust_id = 5; UPDATE tbl_cust SET born = '0044-03-15 BC', tags = '{}' WHERE cust_id = 6`,
  `INSERT INTO tbl_cat SELECT 'more-' || i, NULL, 'More' FROM generate_series(1, 300) i; UPDATE tbl_giro SET balance = balance + 1`,
];

const CHINOOK_CHANGES = [
  `BEGIN; UPDATE track SET unit_price = unit_price + 1 WHERE genre_id = 3; DELETE FROM playlist_track WHERE playlist_id = 1;
   INSERT INTO artist VALUES (10001, 'Die Ärzte'), (10002, NULL); COMMIT`,
  // One partition: a truncate has its place among the rows.
  `TRUNCATE playlist_track; INSERT INTO playlist_track SELECT 2, track_id FROM track WHERE track_id % 7 = 0`,
  // The file says to ignore it: rows go on without it.
  `ALTER TABLE artist ADD COLUMN note text; UPDATE artist SET name = name || '.', note = 'new' WHERE artist_id < 20; UPDATE employee SET reports_to = NULL`,
];

/** Every state that a row of the target takes, also for a sink that switches triggers off. */
const HISTORY = `CREATE TABLE history (at bigint GENERATED ALWAYS AS IDENTITY, name text);
  CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.history (name) VALUES (new.name); RETURN NULL; END $$;
  CREATE TRIGGER note AFTER INSERT OR UPDATE ON artist FOR EACH ROW WHEN (new.artist_id = 1) EXECUTE FUNCTION note();
  ALTER TABLE artist ENABLE ALWAYS TRIGGER note`;

interface Pair {
  readonly ours: string;
  readonly theirs: string;
}

interface Stage extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly file: string;
  /** The connector's name and prefix. */
  readonly prefix: string;
  readonly config: ConnectorConfig;
  readonly running: Map<string, Pipeline>;
  start(command: string): void;
  dataDir(command: string): string;
}

interface StageOptions {
  readonly source: string;
  readonly target: string;
  readonly tables: readonly object[];
  readonly include: readonly string[];
  readonly format: 'json' | 'avro';
  readonly partitions: number;
}

describeWithConnect("Debezium's PostgreSQL connector", () => {
  let worker: Connect;
  let server: PostgresServer;
  let offsets: string;
  let number = 0;

  beforeAll(async () => {
    server = await startPostgres({ version: 18 });
    offsets = join(await mkdtemp(join(tmpdir(), 'crossfade-offsets-')), 'offsets');
    worker = await newWorker();
  }, LONG_MS);

  afterAll(async () => {
    await worker[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(join(offsets, '..'), { recursive: true, force: true });
  });

  async function newWorker(): Promise<Connect> {
    const { brokers } = await sharedKafka();
    const properties = { 'offset.storage.file.filename': offsets, 'offset.flush.interval.ms': String(OFFSETS_EVERY_MS) };
    return startConnect({ brokers, properties });
  }

  async function openStage({ tables, include, format, partitions, ...sql }: StageOptions): Promise<Stage> {
    await using stack = new AsyncDisposableStack();
    const name = `from_debezium_${process.pid}_${++number}`;
    const prefix = `legacy_${process.pid}_${number}`;
    const [source, target] = [await server.createDatabase(`${name}_a`), await server.createDatabase(`${name}_b`)];
    await execute(source, sql.source);
    await execute(target, sql.target);
    const { brokers } = await sharedKafka();
    const registry = format === 'avro' ? (await sharedRegistry()).url : undefined;
    const config = debeziumSource(source, {
      prefix,
      tables: include,
      partitions,
      config: {
        ...(registry === undefined ? JSON_WITH_SCHEMA : avroConverters(registry)),
        'publish.via.partition.root': 'true',
        'skipped.operations': 'none',
        'column.propagate.source.type': '.*',
        'interval.handling.mode': 'string',
        'event.converting.failure.handling.mode': 'fail',
        'provide.transaction.metadata': 'true',
        'signal.data.collection': 'public.signals',
      },
    });
    await worker.create(prefix, config);
    stack.defer(async () => worker.delete(prefix));
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-from-debezium-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'migration.json');
    const kafka = { brokers, partitions: 3, format, ...(registry !== undefined && { registry }), input: { prefix } };
    const databases = { source: { postgres: source }, target: { postgres: target } };
    await writeFile(file, JSON.stringify({ crossfade: 1, name, ...databases, tables, log: { kafka } }));
    const kept = stack.move();
    const running = new Map<string, Pipeline>();
    const dataDir = (command: string): string => join(directory, command);
    const start = (command: string): void => {
      const logFile = join(directory, `${command}.log`);
      running.set(command, kept.use(Pipeline.start({ command, file, dataDir: dataDir(command), logFile })));
    };
    return { source, target, file, prefix, config, running, start, dataDir, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  }

  async function untilEqual({ source, target, running }: Stage, pairs: readonly Pair[]): Promise<void> {
    try {
      for (const { ours, theirs } of pairs) {
        const rows = await execute(source, ours);
        await vi.waitFor(async () => expect(await execute(target, theirs), theirs).toEqual(rows), WAIT);
      }
    } catch (error) {
      const logs = [...running.values()].map((one) => `--- ${one.command}\n${one.logTail(8)}`);
      throw new Error([messageOf(error), ...logs, worker.log().slice(-2000)].join('\n'), { cause: error });
    }
  }

  /** Each of the services is killed while the changes are written, and started again. */
  async function throughKills(stage: Stage, pairs: readonly Pair[], changes: readonly string[]): Promise<void> {
    for (const command of SERVICES) stage.start(command);
    await untilEqual(stage, pairs);
    for (const [i, command] of SERVICES.toReversed().entries()) {
      const writing = execute(stage.source, changes[i]!);
      await stage.running.get(command)!.kill();
      await writing;
      stage.start(command);
      await untilEqual(stage, pairs);
    }
  }

  async function stopAll({ running }: Stage): Promise<void> {
    for (const one of running.values()) expect(await one.stop(), one.logTail()).toEqual({ code: 0, signal: null });
  }

  test.each(['json', 'avro'] as const)(
    "feeds our transformer and sink with the shop's tables in %s, through a kill of each of the services",
    async (format) => {
      const [legacy, target, yaml] = ['legacy.sql', 'renamed.sql', 'renamed.yaml'].map((name) => readFileSync(join(SHOP, name), 'utf8'));
      const source = [legacy!, loadSql(SIZE, SEED), FOR_DEBEZIUM].join(';\n');
      const entries = (parse(yaml!) as { readonly tables: readonly Entry[] }).tables
        .map((entry) => ({ ...entry, table: entry.from.replace('public.', '') }))
        .filter(({ table }) => SHOP_COLUMNS[table] !== undefined);
      const tables = entries.map(({ table, ...entry }) => ({ ...entry, drop: [...(entry.drop ?? []), ...(SHOP_DROPS[table] ?? [])] }));
      const include = entries.map(({ from }) => from);
      await using stage = await openStage({ source, target: target!, tables, include, format, partitions: 2 });
      const pairs = entries.map(({ table, to }) => {
        const [ours, theirs] = SHOP_COLUMNS[table]!;
        return { ours: rowsSql(table, ours), theirs: rowsSql(to, theirs) };
      });
      await throughKills(stage, pairs, SHOP_CHANGES);
      await stopAll(stage);
    },
    LONG_MS,
  );

  test.skipIf(!existsSync(CHINOOK))(
    'feeds them with Chinook in avro: truncates, a new column, snapshots by signal; what it repeats after a kill changes nothing',
    async () => {
      const chinook = readFileSync(CHINOOK, 'utf8');
      const target = `${chinook.replaceAll(/^INSERT INTO[^]*?;$/gm, '')}; ${HISTORY}`;
      const source = `${chinook}; CREATE TABLE signals (id text PRIMARY KEY, type text NOT NULL, data text)`;
      const names = [...chinook.matchAll(/^CREATE TABLE (\w+)/gm)].map(([, name]) => name!);
      expect(names.length).toBe(11);
      const include = names.map((name) => `public.${name}`);
      const tables = include.map((from) => ({ from, ...(from === 'public.artist' && { unmapped: 'ignore' }) }));
      await using stage = await openStage({ source, target, tables, include, format: 'avro', partitions: 1 });
      const pairs = names.map((name) => {
        const sql = name === 'artist' ? rowsSql('artist', 'artist_id, name') : rowsSql(name, `${name}.*`);
        return { ours: sql, theirs: sql };
      });
      await throughKills(stage, pairs, CHINOOK_CHANGES);
      await repeatsAfterKill(stage, pairs);
      await snapshotBySignal(stage, pairs);
      const verified = await runChild(['verify', '-f', stage.file, '--data', stage.dataDir('verify'), '--json']);
      // It cannot name a moment of the source, and says so.
      expect(envelopeOf(verified)).toMatchObject({ ok: false, result: { differences: 0, inconclusive: 11 } });
      await execute(stage.source, `ALTER TABLE genre ADD COLUMN note text; UPDATE genre SET name = name || '.' WHERE genre_id = 1`);
      await vi.waitFor(() => expect(stage.running.get('sink')!.logTail(5)).toMatch(/public\.genre.*Table held/), WAIT);
      await stopAll(stage);
    },
    LONG_MS,
  );

  /** Changes since the offsets were stored last are written to the topics again by the next worker. */
  async function repeatsAfterKill(stage: Stage, pairs: readonly Pair[]): Promise<void> {
    const rename = (name: string): Promise<unknown> => execute(stage.source, `UPDATE artist SET name = '${name}' WHERE artist_id = 1`);
    const storedAt = (): number => statSync(offsets).mtimeMs;
    // One flush writes the file several times within milliseconds.
    const isStoredSince = (stored: number): boolean => storedAt() - stored > OFFSETS_EVERY_MS / 2;
    let stored = 0;
    // Made once more where the offsets were stored before all of it had arrived, as on a loaded machine they may be.
    do {
      const before = storedAt();
      await execute(
        stage.source,
        `INSERT INTO artist VALUES (10001, 'again') ON CONFLICT DO NOTHING`,
        `UPDATE artist SET artist_id = 10002 WHERE artist_id = 20002`,
      );
      await rename('stored');
      await vi.waitFor(() => expect(storedAt()).toBeGreaterThan(before), WAIT);
      stored = storedAt();
      for (const name of ['once', 'twice', 'thrice']) {
        await rename(name);
        await untilEqual(stage, pairs.slice(0, 2));
      }
      await execute(
        stage.source,
        `DELETE FROM artist WHERE artist_id = 10001`,
        `UPDATE artist SET artist_id = 20002 WHERE artist_id = 10002`,
      );
      await untilEqual(stage, pairs);
    } while (isStoredSince(stored));
    await worker.kill();
    expect(isStoredSince(stored), 'the offsets were stored before the kill').toBe(false);
    worker = await newWorker();
    await worker.create(stage.prefix, stage.config);
    await rename('last');
    await untilEqual(stage, pairs);
    const history = await execute(stage.target, 'SELECT name FROM history ORDER BY at');
    expect(history.map(({ name }) => name).slice(-5)).toEqual(['stored', 'once', 'twice', 'thrice', 'last']);
    await vi.waitFor(() => expect(stage.running.get('reader')!.logTail(50)).toContain('the connector repeated records'), WAIT);
  }

  async function snapshotBySignal(stage: Stage, pairs: readonly Pair[]): Promise<void> {
    await execute(stage.target, `DELETE FROM playlist_track; UPDATE artist SET name = 'wrong'`);
    const data = JSON.stringify({ 'data-collections': ['public.artist', 'public.playlist_track'], type: 'incremental' });
    await execute(stage.source, `INSERT INTO signals VALUES ('again', 'execute-snapshot', '${data}')`);
    await untilEqual(stage, pairs);
  }
});

function rowsSql(table: string, columns: string): string {
  return `SELECT row(${columns})::text AS row FROM ${table} ORDER BY row(${columns})::text COLLATE "C"`;
}
