/** Each failure at its step, with everything real but the moment at which it comes: backed out, writes going on, the audit says why, and the next flip works. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { openFlip } from '#services/cli/flip/open-flip.ts';
import { MESSAGE_PREFIX, originMessage } from '#schemas/frame/frame.ts';
import { flip } from '#services/control/flip/engine.ts';
import type { FencePort, FlipPorts } from '#services/control/flip/ports.ts';
import type { FlipSettings } from '#services/control/flip/settings.ts';
import { hooksPort } from '#services/control/hooks/run-hook.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';
import { BUSY_LIMITS, type FlipStage, flipStage, standing, until } from '#test/support/flip-stage.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 100) AS i`;
/** The target spoils what the pipeline writes, where a row asks for it. */
const SPOILING = `CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;
  CREATE TRIGGER spoil BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.note LIKE 'spoil%') EXECUTE FUNCTION spoil();
  ALTER TABLE orders ENABLE ALWAYS TRIGGER spoil`;
const REST = `cutover: { ${BUSY_LIMITS} }
reconcile: { enabled: false }
tables:
  - from: public.*
`;

let stage: FlipStage;
/** Of the test that runs: what it holds is let go at its end. */
let sessions: ApplicationSession[] = [];

beforeAll(async () => {
  stage = await flipStage({ ddl: DDL, rows: ROWS, rest: REST });
  await execute(stage.target, SPOILING);
}, 120_000);
afterEach(async () => letGo());
afterAll(async () => stage[Symbol.asyncDispose]());

async function letGo(): Promise<void> {
  await Promise.all(sessions.map(async (one) => one[Symbol.asyncDispose]()));
  sessions = [];
}

async function session(url: string): Promise<ApplicationSession> {
  const opened = await openSession(url);
  sessions.push(opened);
  return opened;
}

/** On the target, as a fault of our own sink: for anybody else's write the gate purity is closed. */
async function asOurs(sql: string): Promise<void> {
  const mark = `SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', '${originMessage('scenario')}')`;
  await execute(stage.target, `BEGIN; ${mark}; ${sql}; COMMIT`);
}

/** Before the source's fence is asked for. */
function beforeFence(ports: FlipPorts, sabotage: () => Promise<void>): FlipPorts {
  const open: FencePort['open'] = async (epoch) => {
    await sabotage();
    return ports.fences.source.open(epoch);
  };
  return { ...ports, fences: { ...ports.fences, source: { ...ports.fences.source, open } } };
}

interface Failure {
  readonly what: string;
  readonly code: string;
  readonly step: string;
  readonly sabotage: (ports: FlipPorts) => FlipPorts;
  /** Where it is the time that runs out: on a busy machine it must not run out elsewhere. */
  readonly limits?: Partial<FlipSettings>;
  /** Where more is left than a session. */
  readonly mend?: () => Promise<void>;
}

const FAILURES: readonly Failure[] = [
  {
    what: 'a writer keeps the locks',
    code: 'CF-8101',
    step: 'fence',
    limits: { attempts: 2 },
    sabotage: (ports) =>
      beforeFence(ports, async () => {
        if (sessions.length === 0) await (await session(stage.source)).query(`BEGIN; INSERT INTO orders (note) VALUES ('open')`);
      }),
  },
  {
    what: 'the pipeline stands still',
    code: 'CF-8305',
    step: 'drain',
    limits: { drainTimeoutMs: 1_000 },
    sabotage: (ports) =>
      beforeFence(ports, async () => {
        await (await session(stage.target)).query('BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE');
        await execute(stage.source, `INSERT INTO orders (note) VALUES ('in the way')`);
      }),
  },
  {
    what: 'drift behind the fence',
    code: 'CF-8304',
    step: 'final-compare',
    sabotage: (ports) => beforeFence(ports, async () => void (await execute(stage.source, `INSERT INTO orders (note) VALUES ('spoil')`))),
    mend: async () => asOurs(`UPDATE orders SET note = 'spoil' WHERE note = 'SPOIL'`),
  },
  {
    what: 'drift before the fence',
    code: 'CF-8304',
    step: 'compare',
    sabotage: (ports) => ({
      ...ports,
      hooks: {
        ...ports.hooks,
        before: async () => asOurs(`UPDATE orders SET note = 'foreign' WHERE id = 7`).then(() => []),
      },
    }),
    mend: async () => asOurs(`UPDATE orders SET note = 'order 7' WHERE id = 7`),
  },
  {
    what: 'a hook says no',
    code: 'CF-8303',
    step: 'hooks',
    sabotage: (ports) => {
      const before = [
        { name: 'change freeze', kind: 'exec', command: ['/bin/sh', '-c', 'echo frozen; exit 3'], timeoutMs: 5_000 },
      ] as const;
      return { ...ports, hooks: hooksPort({ name: 'scenario', before, after: [], environment: {} }) };
    },
  },
  {
    what: 'the session of the fence is ended',
    code: 'CF-8307',
    step: 'drain',
    sabotage: (ports) => ({
      ...ports,
      pipe: {
        ...ports.pipe,
        applied: async (from, marker, signal) => {
          if (marker.id !== lastMark) return ports.pipe.applied(from, marker, signal);
          await execute(
            stage.source,
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crossfade scenario fence'`,
          );
          return new Promise(() => undefined);
        },
        mark: async (from) => {
          const marker = await ports.pipe.mark(from);
          lastMark = marker.id;
          return marker;
        },
      },
    }),
  },
];
let lastMark: string | undefined;

async function flipWith(sabotage: (ports: FlipPorts) => FlipPorts, limits: Partial<FlipSettings> = {}): Promise<unknown> {
  await using open = await openFlip(stage.instance().file, { log: silentLogger, io: { environment: {} } }, 'a test');
  return await flip(sabotage(open.ports), { ...open.migration.settings, ...limits }, { kind: 'cutover', drill: false, by: 'a test' });
}

test.for(FAILURES)('$what: backed out', { timeout: 120_000 }, async ({ code, step, sabotage, limits, mend }) => {
  const error: unknown = await flipWith(sabotage, limits).catch((caught: unknown) => caught);
  await letGo();
  expect(error).toMatchObject({ code, details: { step } });
  expect(await standing(stage, 'orders')).toEqual({
    state: 'following',
    serves: 'source',
    isBusy: false,
    refuses: { source: false, target: false },
  });
  const last = (await readAudit(stage.target, 'scenario')).at(-1);
  expect(last).toMatchObject({ event: 'backed-out', details: { step, code } });
  await mend?.();
});

test(
  'the target is lost behind the fence: writes go on at once, and it is backed out when the target is back',
  { timeout: 120_000 },
  async () => {
    const name = new URL(stage.target).pathname.slice(1);
    const admin = stage.target.replace(/\/[^/]*$/, '/postgres');
    const lose = async (): Promise<void> => {
      await execute(admin, `ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
      await execute(admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    };
    const error: unknown = await flipWith((ports) => ({
      ...ports,
      compare: {
        begin: async (from, signal) => {
          const compare = await ports.compare.begin(from, signal);
          return {
            ...compare,
            refresh: async (stop) => compare.refresh(stop),
            close: async () => compare.close(),
            finish: async (at, stop) => {
              await lose();
              return compare.finish(at, stop);
            },
          };
        },
      },
    })).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Error);
    await execute(stage.source, `INSERT INTO orders (note) VALUES ('goes on')`);
    await execute(admin, `ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    await until(async () => !(await standing(stage, 'orders')).isBusy, 'the keeper');
    expect(await standing(stage, 'orders')).toEqual({
      state: 'following',
      serves: 'source',
      isBusy: false,
      refuses: { source: false, target: false },
    });
    expect((await readAudit(stage.target, 'scenario')).at(-1)).toMatchObject({ event: 'backed-out' });
  },
);

test('after all that a cut-over works', { timeout: 120_000 }, async () => {
  await until(() => stage.instance().status()?.lag.bytes === 0, 'the pipeline');
  const { run } = await stage.command('cutover', '--confirm', 'scenario');
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  expect((await standing(stage, 'orders')).refuses).toEqual({ source: true, target: false });
});
