import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { isFollowing, Pipeline, type PipelineStatus } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import {
  foundRows,
  KEPT_SETTINGS,
  KEPT_SOURCE,
  KEPT_TABLES,
  KEPT_TARGET,
  keptChanges,
  keptRows,
  keptTruncates,
  nowAt,
  withoutUnseen,
  type KeptRow,
} from '#test/support/kept-tables.ts';
import { startPostgres } from '#test/support/postgres.ts';

const LONG_MS = 300_000;
const LAG_BYTES_MAX = 64 * 1024;

test(
  'rows that go stay softly deleted with their last values and the time, under load and through SIGKILLs',
  { timeout: LONG_MS },
  async () => {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startPostgres({ version: 18, settings: KEPT_SETTINGS }));
    const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-kept-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
    const head = `crossfade: 1\nname: kept\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\nheartbeatSeconds: 1\n`;
    await writeFile(file, `${head}copy: { chunkRows: 300 }\n${KEPT_TABLES}`);
    await execute(source, KEPT_SOURCE);
    await execute(target, KEPT_TARGET);
    const start = (env: Record<string, string>): Pipeline =>
      stack.use(Pipeline.start({ file, dataDir, logFile: join(directory, 'up.log'), env }));
    let round = 0;
    const write = (): Promise<unknown> => execute(source, ...keptChanges(round++));
    const writeUntil = async (event: Promise<unknown>, truncates = true): Promise<void> => {
      const state = { isOver: false };
      const over = (): boolean => (state.isOver = true);
      event.then(over, over);
      while (!state.isOver) {
        if (!truncates && keptTruncates(round)) round++;
        await write();
      }
      await event;
    };
    const first = start({});
    const copying = first.waitFor(isFollowing, { what: 'following', timeoutMs: 90_000 });
    await writeUntil(copying);
    const since = await nowAt(source);
    await first.stop();
    for (const failpoint of ['sink.applied:4', 'sink.commit:6', 'sink.committed:3']) {
      const struck = start({ CROSSFADE_TEST_FAILPOINT: failpoint });
      while (struck.result === undefined) await write();
      expect(await struck.ended(), struck.logTail(20)).toMatchObject({ signal: 'SIGKILL' });
    }
    const last = start({});
    // Each of those that were killed left more behind than it applied; how long that takes on a busy machine is not what verify is asked.
    const hasCaughtUp = ({ lag }: PipelineStatus): boolean => lag.bytes !== null && lag.bytes < LAG_BYTES_MAX;
    await last.waitFor((status) => isFollowing(status) && hasCaughtUp(status), { what: 'caught up', timeoutMs: 120_000 });
    const verifying = runCommand<VerifyResult>(['verify'], { file, dataDir });
    // A table that is truncated while it is compared has to be compared anew.
    await writeUntil(verifying, false);
    const verified = await verifying;
    expect(verified.code, explain(verified)).toBe(0);
    expect(await runCommand<VerifyResult>(['verify'], { file, dataDir })).toMatchObject({ code: 0 });
    const compare = async (table: 'item' | 'note' | 'entry', shown = (row: KeptRow): KeptRow => row): Promise<number> => {
      const found = await foundRows(target, table);
      const expected = withoutUnseen(await keptRows(source, table), found, since);
      expect(found.map(shown)).toEqual(expected.map(shown));
      return expected.filter(({ at }) => at !== null).length;
    };
    expect(await compare('item')).toBeGreaterThan(100);
    expect(await compare('note')).toBeGreaterThan(100);
    expect(await compare('entry', ({ id, row }) => ({ id, row, at: null }))).toBeGreaterThan(10);
    expect(verified.envelope?.result?.tables).toMatchObject([
      { to: 'public.entry', kept: expect.any(Number) },
      { to: 'public.item', softlyDeleted: expect.any(Number) },
      { to: 'public.note', softlyDeleted: expect.any(Number) },
    ]);

    expect(await last.stop()).toEqual({ code: 0, signal: null });
  },
);
