/** The runbook of a migration on a real server: its commands are commands, its times were measured, its people are the file's. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import type { Runbook } from '#schemas/runbook/runbook.ts';
import { COMMANDS, LATER_COMMANDS } from '#services/cli/commands.ts';
import { envelopeOf } from '#test/support/command-line.ts';
import { CERTIFICATE, movedShop } from '#test/support/moved-shop.ts';

const TIMEOUT_MS = 180_000;
const EXTRA = `approvals:
  cutover: { count: 2, of: [Ada Lovelace, Grace Hopper, Edsger Dijkstra] }
  signoff: [Ada Lovelace]
  checklist: { backup-restored: 1 }
contacts:
  database: Ada Lovelace, +44 20 7946 0000
  applications on call: "#shop-oncall"
cleanup: { after: 72h }
tests:
  - { from: public.customers, name: names stay, given: { id: 1, name: Ada }, expect: { id: 1, name: Ada } }
`;

/** Options of a command as it declares them, those that every command has included. */
function optionsOf(name: string): string[] {
  const command = new Command(name).option('-f, --file <file>').option('--data <dir>').option('--json');
  COMMANDS.find((spec) => spec.name === name)?.configure?.(command);
  return command.options.flatMap(({ short, long }) => [short ?? '', long ?? '']);
}

test('the runbook names this file, these people and measured times; every line of it can be typed', { timeout: TIMEOUT_MS }, async () => {
  await using shop = await movedShop(EXTRA);
  const before = await shop.run('plan', '--runbook');
  expect(before.exitCode).toBe(0);
  expect(before.stdout).toContain('not measured yet: run crossfade drill');

  await shop.apply(['drill-begun'], ['backed-out', { drilled: true, ...CERTIFICATE }]);
  expect((await shop.run('approve', 'cutover', '--as', 'Grace Hopper')).exitCode).toBe(0);
  expect((await shop.run('plan', '--runbook', '--format', 'html', '--out', 'runbook.html')).exitCode).toBe(0);
  const html = readFileSync(join(shop.directory, 'runbook.html'), 'utf8');
  const kept = process.env['CROSSFADE_KEEP_DOCUMENTS'];
  if (kept !== undefined) writeFileSync(join(kept, 'runbook.html'), html);
  expect(html).toContain('212 ms, measured by the drill of');
  expect(html).toContain('+44 20 7946 0000');
  expect(html).toContain('Grace Hopper (');
  const { approvals, cleanupAfterMs } = envelopeOf(await shop.run('plan', '--runbook', '--json')).result as Runbook;
  expect(approvals.map(({ required, missing }) => [required.subject, missing])).toEqual([
    ['cutover', 1],
    ['signoff', 1],
    ['backup-restored', 1],
  ]);
  expect(cleanupAfterMs).toBe(72 * 3_600_000);

  // Written for another file name, too.
  writeFileSync(join(shop.directory, 'shop.yaml'), readFileSync(join(shop.directory, 'migration.yaml')));
  const named = (await shop.run('plan', '-f', 'shop.yaml', '--runbook')).stdout;
  expect(named).toContain('crossfade cutover -f shop.yaml --confirm shop');
  for (const document of [before.stdout, named]) {
    const lines = [...document.matchAll(/^ {4}(crossfade .*)$/gm)].map(([, line]) => line!);
    expect(lines.length).toBeGreaterThan(20);
    for (const line of lines) {
      const [, name, ...rest] = line.split(' ');
      const isBuilt = COMMANDS.some((spec) => spec.name === name);
      expect(isBuilt || LATER_COMMANDS.includes(name!), line).toBe(true);
      const options = rest.filter((word) => word.startsWith('-'));
      if (isBuilt) expect(optionsOf(name!), line).toEqual(expect.arrayContaining(options));
    }
  }
});
