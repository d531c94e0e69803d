import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { expect, test } from 'vitest';
import { readInstance } from '#services/runtime/instance-file.ts';
import type { ConflictCounts } from '#connectors/target/target.ts';
import { execute } from '#test/support/application.ts';
import { type DualApplication, startDualApplication } from '#test/support/dual-application.ts';
import { DUAL_DDL, DUAL_TABLES, type DualTable } from '#test/support/dual-writing-application.ts';
import { BUSY_LIMITS, type FlipStage, flipStage, until } from '#test/support/flip-stage.ts';

const REST = `heartbeatSeconds: 1
cutover: { strategy: dual-write, ${BUSY_LIMITS} }
tables:
  - from: public.account
    conflict: { newer-wins: ver }
  - from: public.note
    conflict: source-wins
  - from: public.setting
    conflict: target-wins
`;
const TABLES = Object.keys(DUAL_TABLES) as readonly DualTable[];
const WRITES = 60;

class World {
  readonly #stage: FlipStage;
  readonly #application: DualApplication;

  constructor(stage: FlipStage, application: DualApplication) {
    this.#stage = stage;
    this.#application = application;
  }

  async run(exitCode: number, ...args: readonly string[]): Promise<string> {
    const { run } = await this.#stage.command(...args);
    strictEqual(run.exitCode, exitCode, `${args.join(' ')}: ${run.stdout}${run.stderr}`);
    return run.stdout;
  }

  /** Both stores may be the same before the stream has brought a thing: the application saw to that. */
  async streamed(): Promise<void> {
    const [mark] = await execute(this.#stage.source, `SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`);
    const passed = `SELECT FROM crossfade.progress WHERE name = 'scenario' AND applied_lsn > '${mark!['lsn']}'`;
    await until(async () => (await execute(this.#stage.target, passed)).length === 1, 'the stream');
  }

  /** No key is written before the stream has brought its last change: else the target would be ahead, which counts. */
  async burst(): Promise<void> {
    await this.streamed();
    const reply = await this.#application.ask({ kind: 'burst', writes: WRITES });
    deepStrictEqual(reply.failed, []);
  }

  /** The application has heard of it, and writes; then both stores are the same, and as it was told. */
  async writesIn(stage: string): Promise<void> {
    await until(async () => (await this.#application.ask({ kind: 'state' })).stage === stage, `the application to be in ${stage}`);
    await this.burst();
    await this.sameAsTold();
  }

  /** While this happens, the application writes. */
  async under(act: () => Promise<unknown>): Promise<void> {
    await Promise.all([this.burst(), act()]);
  }

  async sameAsTold(): Promise<void> {
    const { rows } = await this.#application.ask({ kind: 'state' });
    const told = TABLES.flatMap((table) =>
      Object.entries(rows[table]).map(([id, { ver, body }]) => `${table} ${id} ${ver} ${body}`),
    ).toSorted();
    const own = (all: readonly string[]): readonly string[] => all.filter((row) => Number(row.split(' ')[1]) < INJECTED);
    let sides: string[][] = [];
    await until(async () => {
      sides = await Promise.all([rowsOf(this.#stage.source), rowsOf(this.#stage.target)]);
      return sides[0]!.join('\n') === sides[1]!.join('\n');
    }, 'both stores to be the same');
    deepStrictEqual(own(sides[0]!), told);
  }

  async conflicts(): Promise<Record<DualTable, ConflictCounts>> {
    const { tables } = JSON.parse(await this.run(0, 'status')).result as {
      readonly tables: readonly { readonly from: string; readonly conflicts?: ConflictCounts }[];
    };
    return Object.fromEntries(tables.map(({ from, conflicts = {} }) => [from.replace('public.', ''), conflicts])) as Record<
      DualTable,
      ConflictCounts
    >;
  }

  async settle(table: DualTable, key: number): Promise<void> {
    await this.#application.ask({ kind: 'settle', table, key: String(key) });
  }
}

async function rowsOf(url: string): Promise<string[]> {
  const sql = TABLES.map((table) => `SELECT '${table} ' || id || ' ' || ver || ' ' || body AS row FROM ${table}`).join(' UNION ALL ');
  return (await execute(url, sql)).map(({ row }) => row!).toSorted();
}

/** Keys from here on are written by the test. */
const INJECTED = 1_000_000;
const FIRST = [0, 1, 2, 3].map((i) => `(${INJECTED + i}, 1, 'first')`).join(', ');

/** One of each kind that the policies tell apart, as rows differ when an application's second write was lost, late or made by somebody else. */
async function inject(stage: FlipStage, world: World): Promise<Record<DualTable, ConflictCounts>> {
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => INJECTED + i);
  await execute(stage.source, ...TABLES.map((table) => `INSERT INTO ${table} VALUES ${FIRST}`));
  await world.streamed();
  for (const table of TABLES) {
    await execute(
      stage.target,
      `UPDATE ${table} SET ver = 9, body = 'theirs' WHERE id = ${a}`,
      `UPDATE ${table} SET body = 'other' WHERE id = ${b}`,
    );
    await execute(
      stage.target,
      `DELETE FROM ${table} WHERE id = ${c}`,
      `INSERT INTO ${table} VALUES (${d! + 1}, 1, 'same'), (${d! + 2}, 5, 'theirs')`,
    );
    await execute(
      stage.source,
      `UPDATE ${table} SET ver = 2, body = 'ours' WHERE id IN (${a}, ${b}, ${c})`,
      `UPDATE ${table} SET body = 'plain' WHERE id = ${d}`,
      `INSERT INTO ${table} VALUES (${d! + 1}, 1, 'same'), (${d! + 2}, 1, 'ours')`,
    );
  }
  return {
    account: { 'update/target': 1, 'update/source': 1, 'missing/source': 1, 'insert/target': 1 },
    note: { 'update/source': 2, 'missing/source': 1, 'insert/source': 1 },
    setting: { 'update/target': 2, 'missing/target': 1, 'insert/target': 1 },
  };
}

test(
  'six stages under an application that writes both stores, forward and back; conflicts are counted and settled',
  { timeout: 240_000 },
  async () => {
    await using stage = await flipStage({ ddl: DUAL_DDL, rest: REST });
    const { url, token } = (await readInstance(stage.dataDir))!;
    await using application = await startDualApplication({ source: stage.source, target: stage.target, url, token });
    const world = new World(stage, application);
    await world.writesIn('off');
    expect(await world.run(10, 'flags', 'set', '--stage', 'shadow')).toContain('one step');
    await world.under(async () => world.run(0, 'flags', 'set', '--stage', 'dualwrite'));
    await world.writesIn('dualwrite');
    expect(await world.run(10, 'cutover', '--confirm', 'scenario')).toContain('CF-8405');
    await world.under(async () => world.run(0, 'flags', 'set', '--stage', 'shadow'));
    await world.writesIn('shadow');
    // The application's second writes are ahead of the stream: that is no difference.
    for (let i = 0; i < 2; i++) await world.under(async () => world.run(0, 'verify', '--rows-only'));
    await world.sameAsTold();
    expect(await world.conflicts()).toEqual({ account: {}, note: {}, setting: {} });

    const injected = await inject(stage, world);
    await until(
      async () => JSON.stringify(sorted(await world.conflicts())) === JSON.stringify(sorted(injected)),
      'the conflicts to be counted',
    );
    // What the policy keeps apart is apart, and verify says so.
    await world.run(11, 'verify');
    for (const table of TABLES) for (const i of [0, 1, 2, 5]) await world.settle(table, INJECTED + i);
    await world.sameAsTold();
    await world.run(0, 'verify');

    await world.under(async () => world.run(0, 'cutover', '--confirm', 'scenario'));
    await world.writesIn('live');
    expect(await world.run(10, 'flags', 'set', '--stage', 'shadow')).toContain('crossfade rollback');
    await world.under(async () => world.run(0, 'rollback'));
    await world.writesIn('shadow');
    await world.under(async () => world.run(0, 'cutover', '--confirm', 'scenario'));
    await world.writesIn('live');
    await world.run(0, 'verify');
    await world.under(async () => world.run(0, 'flags', 'set', '--stage', 'rampdown'));
    await world.writesIn('rampdown');
    await world.run(0, 'flags', 'set', '--stage', 'complete');
    await world.writesIn('complete');
    await world.run(0, 'flags', 'set', '--stage', 'rampdown');
    await world.writesIn('rampdown');
    expect(sorted(await world.conflicts())).toEqual(sorted(injected));
  },
);

function sorted(conflicts: Record<DualTable, ConflictCounts>): readonly unknown[] {
  return TABLES.map((table) => Object.entries(conflicts[table]).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
