/** `observe:` in a running instance: both sides are compared again and again while the target serves, a difference asks for a rollback, and the sign-off waits. */
import { expect, test } from 'vitest';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { MESSAGE_PREFIX, originMessage } from '#schemas/frame/frame.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import { readInstance } from '#services/runtime/instance-file.ts';
import { execute } from '#test/support/application.ts';
import { flipStage, until } from '#test/support/flip-stage.ts';

const DDL = `CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL); CREATE TABLE log (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())`;
const REST = `tables:
  - { from: public.orders }
  - { from: public.log, reverse: none }
observe: { for: 72h, every: 1s }
triggers:
  - { name: drift, when: drift, window: 5s }
`;

test(
  'the target is compared while it serves; a row that differs asks for a rollback, and nobody signs off before the time',
  { timeout: 180_000 },
  async () => {
    await using stage = await flipStage({
      ddl: DDL,
      rows: `INSERT INTO orders SELECT i, 'old' FROM generate_series(1, 100) AS i`,
      rest: REST,
    });
    const there = await stage.command('cutover', '--confirm', 'scenario');
    expect(there.run.exitCode, there.run.stdout + there.run.stderr).toBe(0);
    const found = async (event: string): Promise<AuditRecord[]> => {
      const audit = await readAudit(stage.target, 'scenario');
      return audit.slice(audit.findLastIndex((one) => one.event === 'decided')).filter((one) => one.event === event);
    };
    await execute(stage.target, `INSERT INTO orders VALUES (1000, 'on the target')`);
    await until(async () => (await found('proved')).length > 0, 'the first comparison');
    expect((await found('proved'))[0]).toMatchObject({ details: { differences: 0, left: ['public.log'] } });

    // Past the fence and past both directions, as what nobody has thought of would be.
    const mark = `SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', '${originMessage(reverseName('scenario'))}')`;
    await execute(
      stage.source,
      `SET crossfade.pipeline = 'scenario'`,
      `BEGIN; ${mark}; UPDATE orders SET note = 'changed' WHERE id = 7; COMMIT`,
    );
    await until(async () => (await found('doubted')).length > 0, 'the difference');
    await until(() => stage.instance().status()?.triggers?.[0]?.state === 'fired', 'the trigger to fire');
    const refused = await stage.command('signoff', '--as', 'Ada', '--confirm', 'scenario');
    expect([refused.run.exitCode, refused.envelope.error?.message]).toEqual([
      10,
      expect.stringMatching(/observed: the target serves for .* asks for 3 d; verify: 1 differences were found/),
    ]);
    // It only asks: the target serves on; status, metrics and report say so.
    expect(stage.instance().status()?.triggers).toMatchObject([{ name: 'drift', action: 'ask', hasFired: true }]);
    const { url } = (await readInstance(stage.dataDir))!;
    expect(await (await fetch(new URL('/metrics', url))).text()).toContain('crossfade_trigger_fired{trigger="drift",action="ask"} 1');
    const report = await stage.command('report');
    expect(report.envelope.result).toMatchObject({
      serves: 'target',
      incidents: [
        { what: 'A comparison while the target served found 1 rows that differ', isOver: false },
        { what: expect.stringContaining('The trigger drift fired: 1 rows that differ') as string },
      ],
    });

    expect((await stage.command('repair')).run.exitCode).toBe(0);
    await until(async () => (await found('proved')).length > 1, 'the comparison after the repair');
    const early = await stage.command('signoff', '--as', 'Ada', '--confirm', 'scenario', '--early', 'the source is switched off');
    expect(early.run.exitCode, early.run.stdout).toBe(0);
    expect(await found('signed-off')).toMatchObject([{ details: { early: 'the source is switched off' } }]);
  },
);
