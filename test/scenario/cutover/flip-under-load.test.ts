import { join } from 'node:path';
import { expect, test } from 'vitest';
import { longestWait, lostWrites, startApplication } from '#test/support/application-under-flips.ts';
import { flipStage, standing, until } from '#test/support/flip-stage.ts';
import { APPLICATION_DDL } from '#test/support/following-application.ts';

const RATE = 100;
/** Of a machine on which much else runs. */
const BUSY_MS = 10_000;

test('there, back and there again under writes: none that was acknowledged is lost, and no read fails', { timeout: 300_000 }, async () => {
  await using stage = await flipStage({ ddl: APPLICATION_DDL });
  await using application = startApplication(stage, join(stage.directory, 'journal'), RATE);
  const waits: number[] = [];
  for (const args of [['cutover', '--confirm', 'scenario'], ['rollback'], ['cutover', '--confirm', 'scenario']]) {
    const before = application.lines().length;
    await until(() => application.lines().length > before + RATE / 2, 'writes');
    const { run, envelope } = await stage.command(...args);
    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    waits.push((envelope.result as { blockMs: number }).blockMs);
  }
  const after = application.lines().length;
  await until(() => application.lines().length > after + RATE / 2, 'writes');
  const lines = await application.stop();
  expect(lines.filter(({ kind }) => kind !== 'write')).toEqual([]);
  expect(new Set(lines.map(({ side }) => side))).toEqual(new Set(['source', 'target']));
  expect(await lostWrites(stage.target, lines)).toEqual([]);
  expect((await standing(stage, 'app_order')).refuses).toEqual({ source: true, target: false });
  // What the certificates say is what writers saw.
  const [told, seen] = [Math.max(...waits), longestWait(lines, 0, Infinity)];
  expect(seen).toBeGreaterThan(told / 2);
  expect(seen).toBeLessThan(told + BUSY_MS);
  // What was written on the target comes back to the source all the while.
  await until(async () => (await lostWrites(stage.source, lines)).length === 0, 'the way back');
});
