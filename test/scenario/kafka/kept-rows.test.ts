/** Rows that the source deletes and the file keeps, through the services over Kafka: the mapped topics carry plain deletes. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import {
  foundRows,
  KEPT_SETTINGS,
  KEPT_SOURCE,
  KEPT_TABLES,
  KEPT_TARGET,
  keptChanges,
  keptRows,
  nowAt,
  withoutUnseen,
} from '#test/support/kept-tables.ts';
import { startPostgres } from '#test/support/postgres.ts';

const LONG_MS = 240_000;
const WAIT = { timeout: 90_000, interval: 300 };
const ROUNDS = 12;

describeWithKafka('kept rows over Kafka', () => {
  test('are what they are in one process, through a sink and a transformer that are killed', { timeout: LONG_MS }, async () => {
    const { brokers } = await sharedKafka();
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startPostgres({ version: 18, settings: KEPT_SETTINGS }));
    const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-kept-kafka-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'm.yaml');
    const ends = `source: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\nheartbeatSeconds: 1\n`;
    const log = `log: { kafka: { brokers: ["${brokers.join('", "')}"], partitions: 2 } }\n`;
    await writeFile(file, `crossfade: 1\nname: kept_${process.pid}\n${ends}${log}${KEPT_TABLES}`);
    await execute(source, KEPT_SOURCE);
    await execute(target, KEPT_TARGET);
    const start = (command: string, as = command): Pipeline =>
      stack.use(Pipeline.start({ command, file, dataDir: join(directory, as), logFile: join(directory, `${as}.log`) }));
    let round = 0;
    const write = async (): Promise<void> => {
      for (let i = 0; i < ROUNDS; i++) await execute(source, ...keptChanges(round++));
    };
    start('reader');
    const transformer = start('transformer');
    const sink = start('sink');
    await write();
    const copied = 'SELECT FROM crossfade.progress WHERE applied_lsn IS NOT NULL';
    await vi.waitFor(async () => expect(await execute(target, copied), sink.logTail(10)).toHaveLength(1), WAIT);
    const since = await nowAt(source);
    await write();
    await sink.kill();
    start('sink', 'sink-2');
    await write();
    await transformer.kill();
    start('transformer', 'transformer-2');
    await write();
    const same = async (table: 'item' | 'note' | 'entry'): Promise<void> => {
      const found = await foundRows(target, table);
      const expected = withoutUnseen(await keptRows(source, table), found, since);
      if (table !== 'entry') expect(found).toEqual(expected);
      else expect(found.map(({ id, row }) => ({ id, row }))).toEqual(expected.map(({ id, row }) => ({ id, row })));
    };
    await vi.waitFor(async () => {
      for (const table of ['item', 'note', 'entry'] as const) await same(table);
    }, WAIT);
    const verified = await runCommand<VerifyResult>(['verify'], { file, dataDir: join(directory, 'cli') });
    expect(verified.code, explain(verified)).toBe(0);
  });
});
