/** `crossfade backup` with the pg_dump of this machine: asked for before anything is begun, verified, recorded, and kept. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { dumpVersion } from '#schemas/migration/backup.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase, type PostgresVersion } from '#test/support/postgres.ts';

const DDL = 'CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE other (id int PRIMARY KEY)';

function dumpMajor(): number {
  try {
    return dumpVersion(execFileSync('pg_dump', ['--version'], { encoding: 'utf8' }))?.major ?? 0;
  } catch {
    return 0;
  }
}

const major = dumpMajor();

interface Stage {
  readonly directory: string;
  readonly target: string;
  write(backup: string): void;
  run(...args: string[]): Promise<{ readonly exitCode: number; readonly envelope: ReturnType<typeof envelopeOf> }>;
}

async function withStage(version: PostgresVersion, work: (stage: Stage) => Promise<void>): Promise<void> {
  await using source = await freshDatabase(version);
  await using target = await freshDatabase(version);
  await execute(source.url, DDL, `INSERT INTO orders SELECT i, 'note ' || i FROM generate_series(1, 1000) AS i`);
  await execute(target.url, DDL);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-backup-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  await work({
    directory,
    target: target.url,
    write: (backup) =>
      writeFileSync(
        join(directory, 'migration.yaml'),
        `crossfade: 1\nname: shop\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\ntables: [{ from: public.orders }]\nbackup: ${backup}\n`,
      ),
    run: async (...args) => {
      const run = await runInProcess([...args, '--json'], { directory, environment: { PATH: process.env['PATH'] ?? '' } });
      return { exitCode: run.exitCode, envelope: envelopeOf(run) };
    },
  });
}

test.skipIf(major < 14)(
  `nothing is begun without one; taken, verified and recorded, up goes on${major < 14 ? ' (needs pg_dump)' : ''}`,
  { timeout: 120_000 },
  async () => {
    await withStage(14, async (stage) => {
      stage.write('{ file: saved/shop.dump }');
      const checked = await stage.run('check');
      expect([checked.exitCode, checked.envelope.findings.find(({ code }) => code === 'CF-8602')]).toMatchObject([0, { severity: 'info' }]);
      const refused = await stage.run('up', '--until', 'caught-up', '--port', '0');
      expect([refused.exitCode, refused.envelope.error]).toMatchObject([10, { code: 'CF-8602', remedy: 'Run crossfade backup.' }]);
      expect(await execute(stage.target, `SELECT count(*)::text AS n FROM pg_namespace WHERE nspname = 'crossfade'`)).toEqual([{ n: '0' }]);
      expect((await stage.run('backup')).envelope.error).toMatchObject({
        code: 'CF-8601',
        message: expect.stringContaining('ENOENT') as string,
      });

      stage.write('{ file: shop.dump }');
      const taken = await stage.run('backup');
      expect([taken.exitCode, taken.envelope.error]).toEqual([0, null]);
      const path = join(stage.directory, 'shop.dump');
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect((await readAudit(stage.target, 'shop')).at(-1)).toMatchObject({
        event: 'backed-up',
        details: { of: 'source', by: expect.stringContaining('pg_dump') as string, file: path, bytes: statSync(path).size },
      });
      // The whole database is in it, and the rows.
      const restored = execFileSync('pg_restore', ['--file=-', path], { encoding: 'utf8' });
      expect(restored).toContain('\n1000\tnote 1000\n');
      expect(restored).toContain('CREATE TABLE public.other');

      // One that is not whole replaces nothing, and counts for nothing.
      const good = readFileSync(path);
      stage.write('{ file: shop.dump, verify: "test ! -s \\"$CROSSFADE_BACKUP_FILE\\"" }');
      expect((await stage.run('backup')).envelope.error).toMatchObject({
        code: 'CF-8601',
        message: expect.stringContaining('is not whole: exit 1') as string,
      });
      expect(readFileSync(path).equals(good)).toBe(true);
      stage.write('{ of: target, command: "echo to no avail >&2; exit 3", verify: "true" }');
      expect((await stage.run('backup')).envelope.error?.message).toBe('the target was not saved: exit 3: to no avail');
      expect((await readAudit(stage.target, 'shop')).filter(({ event }) => event === 'backed-up')).toHaveLength(1);
      expect((await stage.run('up', '--until', 'caught-up', '--port', '0')).exitCode).toBe(10);

      stage.write('{ file: shop.dump }');
      expect((await stage.run('up', '--until', 'caught-up', '--port', '0')).exitCode).toBe(0);
      const report = await stage.run('report');
      expect((report.envelope.result as { remnants: { kind: string; name: string }[] }).remnants).toContainEqual(
        expect.objectContaining({ kind: 'backup', name: path, holdsData: true }),
      );
    });
  },
);

test.skipIf(major >= 18)('a pg_dump older than the server, or none, is told by check and by backup', { timeout: 60_000 }, async () => {
  await withStage(18, async (stage) => {
    stage.write('{ file: shop.dump }');
    const checked = await stage.run('check');
    expect([checked.exitCode, checked.envelope.error?.code]).toEqual([3, 'CF-8603']);
    expect((await stage.run('backup')).envelope.error?.code).toBe('CF-8603');
    // A command of the file's own is asked for nothing.
    stage.write('{ command: "true", verify: "true" }');
    expect((await stage.run('check')).exitCode).toBe(0);
    expect((await stage.run('backup')).exitCode).toBe(0);
  });
});
