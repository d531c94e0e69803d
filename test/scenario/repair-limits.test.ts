/** `repair` within the file's limits, with the approval that deletes wait for, and what stands in the audit trail afterwards. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Envelope } from '#schemas/envelope.ts';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { execute } from '#test/support/application.ts';
import { runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { fileFor, startInstance } from '#test/support/running-instance.ts';

const SQL = `CREATE TABLE ord (mail text PRIMARY KEY, total numeric NOT NULL)`;
const ROWS = `INSERT INTO ord SELECT 'm' || g || '@example.org', g FROM generate_series(1, 500) g`;
const QUIET = 'reconcile: { enabled: false }\n';

test(
  'a repair beyond the limits is refused with the numbers, deletes wait for a signature, and both are recorded',
  { timeout: 120_000 },
  async () => {
    await using source = await freshDatabase(18);
    await using target = await freshDatabase(18);
    await execute(source.url, `SET search_path = public; ${SQL}; ${ROWS}`);
    await execute(target.url, `SET search_path = public; ${SQL}`);
    const rest = `tables:\n  - from: public.*\n${QUIET}`;
    await using instance = await startInstance({ source: source.url, target: target.url, rest });
    await expect.poll(() => instance.status()?.phase, { timeout: 60_000 }).toBe('following');
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-repair-limits-'));
    await using stack = new AsyncDisposableStack();
    stack.defer(async () => rm(directory, { recursive: true, force: true }));
    const run = async (limits: string, ...args: readonly string[]): Promise<{ readonly exitCode: number; readonly envelope: Envelope }> => {
      const head = `crossfade: 1\nname: scenario\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\n`;
      await writeFile(join(directory, 'migration.yaml'), head + rest + limits);
      const { exitCode, stdout } = await runInProcess([...args, '--json', '--data', instance.dataDir], { directory });
      return { exitCode, envelope: JSON.parse(stdout) as Envelope };
    };
    const { name } = fileFor({ source: source.url, target: target.url });
    const spoil = `UPDATE public.ord SET total = 0 WHERE mail IN ('m1@example.org', 'm2@example.org'); INSERT INTO public.ord VALUES ('strange@example.org', 1)`;
    await execute(target.url, spoil);
    expect((await run('', 'verify')).exitCode).toBe(11);

    const refusals = [
      ['repair: { maxRows: 2 }\n', [], 'CF-6023', 'nothing was done: the repair would copy 3 rows again, and maxRows is 2'],
      ['repair: { maxRows: 499, maxDeletes: 1 }\n', ['--table', 'ord'], 'CF-6023', 'copy 500 rows again, and maxRows is 499'],
      [
        'repair: { maxRows: 5, maxDeletes: 0 }\n',
        ['--table', 'ord', '--from', 'm1@', '--to', 'm1@z'],
        'CF-6023',
        'nothing was done: the repair would take one row from the target, and maxDeletes is 0',
      ],
      [
        'approvals: { repair-deletes: 1 }\n',
        [],
        'CF-8004',
        'the repair would take one row from the target, which has to be signed: 0 of 1 signed',
      ],
    ] as const;
    for (const [limits, args, code, message] of refusals) {
      const { exitCode, envelope } = await run(limits, 'repair', ...args);
      expect([exitCode, envelope.error?.code, envelope.error?.message]).toEqual([10, code, expect.stringContaining(message) as string]);
    }
    expect(await readAudit(target.url, name).catch(() => [])).toEqual([]);
    expect((await run('', 'verify')).envelope.result).toMatchObject({ differences: 3 });

    const signed = 'repair: { maxRows: 3, maxDeletes: 1 }\napprovals: { repair-deletes: 1 }\n';
    expect((await run(signed, 'approve', 'repair-deletes', '--as', 'Ada')).exitCode).toBe(0);
    const repaired = await run(signed, 'repair');
    expect([repaired.exitCode, repaired.envelope.result]).toMatchObject([0, { differences: 0 }]);
    const [approved, asked, done] = await readAudit(target.url, name);
    expect([approved!.event, asked!.event, done!.event]).toEqual(['approved', 'repair-asked', 'repaired']);
    expect(asked!.actor).toMatch(/^.+@.+$/);
    expect(asked!.details).toMatchObject({
      requests: [
        { table: 'public.ord', kind: 'keys', count: 3, keys: [0, 1, 2].map(() => expect.stringMatching(/^[0-9a-f]{64}$/) as string) },
      ],
      before: [{ table: 'public.ord', missing: 0, extra: 1, different: 2 }],
    });
    expect(done!.details).toMatchObject({ after: [{ table: 'public.ord', missing: 0, extra: 0, different: 0 }] });
    expect(JSON.stringify([asked, done])).not.toContain('example.org');

    // More than a verdict names: the copy of the table takes none away, and the passes behind it all.
    await execute(target.url, `INSERT INTO public.ord SELECT 'x' || g, g FROM generate_series(1, 2500) g`);
    expect((await run('', 'verify')).envelope.result).toMatchObject({ differences: 2500 });
    const many = await run('', 'repair');
    expect([many.exitCode, many.envelope.result]).toMatchObject([0, { differences: 0, tables: [{ rowsTarget: 500 }] }]);

    // What could not be compared is not told as nothing to repair.
    await execute(target.url, `UPDATE crossfade.table_progress SET state = 'held', error = 'by a test'`);
    expect((await run('', 'verify')).exitCode).toBe(1);
    const unknown = await run('', 'repair');
    expect([unknown.exitCode, unknown.envelope.error?.code, unknown.envelope.summary]).toEqual([
      1,
      'CF-6002',
      expect.stringContaining('nothing was asked for: no difference found, but 1 of one table could not be compared') as string,
    ]);
  },
);
