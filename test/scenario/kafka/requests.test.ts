/** What is asked of the reader through `NAME.requests`, by `crossfade control` and by whoever else can write there. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openKafkaLog } from '#connectors/change-log/kafka/kafka-log.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { createInstanceClient, type InstanceClient } from '#services/cli/instance-client.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { readInstance } from '#services/runtime/instance-file.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { clusterOn } from '#test/support/log-on-kafka.ts';
import { startPostgres } from '#test/support/postgres.ts';

const WAIT = { timeout: 60_000, interval: 100 };
const never = new AbortController().signal;

interface Stage extends AsyncDisposable {
  start(command: string, as?: string): Pipeline;
  client(of: string): Promise<InstanceClient>;
  /** Records as they are, behind the back of `control`. */
  put(...records: readonly string[]): Promise<void>;
}

async function openStage(): Promise<Stage> {
  const { brokers } = await sharedKafka();
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres({ version: 18 }));
  const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
  const item = 'CREATE TABLE item (id numeric PRIMARY KEY, label text)';
  await execute(target, item);
  await execute(source, item, `INSERT INTO item SELECT g, 'label ' || g FROM generate_series(1, 50) g`);
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-requests-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'migration.yaml');
  const name = `requests_${process.pid}`;
  const log = `log: { kafka: { brokers: [${brokers.map((broker) => `"${broker}"`).join(', ')}], partitions: 2 } }`;
  const ends = `source: { postgres: "${source}" }\ntarget: { postgres: "${target}" }`;
  await writeFile(file, `crossfade: 1\nname: ${name}\n${ends}\ntables:\n  - from: public.*\n${log}\n`);
  const cluster = await clusterOn(brokers);
  stack.defer(() => cluster.close());
  const requests = await openKafkaLog(cluster, { prefix: name }).topic('requests', { partitions: 1 });
  const kept = stack.move();
  return {
    start: (command, as = command) =>
      kept.use(Pipeline.start({ command, file, dataDir: join(directory, as), logFile: join(directory, `${as}.log`) })),
    client: async (of) =>
      vi.waitFor(async () => {
        const instance = await readInstance(join(directory, of));
        if (instance === undefined) throw new Error(`${of} does not answer yet`);
        return createInstanceClient(instance, never);
      }, WAIT),
    put: async (...records) => {
      const parts = records.flatMap((record) => {
        const payload = Buffer.from(record, 'utf8');
        const prefix = Buffer.alloc(4);
        prefix.writeUInt32BE(payload.length);
        return [prefix, payload];
      });
      await requests.append(0, { count: records.length, parts });
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const codeOf = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => undefined,
    (error: unknown) => (error as { readonly code: string }).code,
  );

describeWithKafka('requests over Kafka', () => {
  test('one that cannot be met fails by itself, where it is made or in the reader, which goes on; a pause and limits stay', async () => {
    await using stage = await openStage();
    const reader = stage.start('reader');
    stage.start('control');
    const control = await stage.client('control');
    const copy = async (): Promise<StatusResult['copy']> => (await control.status()).copy;
    const keys = (...values: string[]) => ({ kind: 'keys' as const, schema: 'public', table: 'item', keys: [values], reason: 'test' });

    expect(await codeOf(control.recopy(keys('7', '8')))).toBe('CF-1009');
    expect(await codeOf(control.recopy(keys('abc')))).toBe('CF-1009');
    expect(await codeOf(control.recopy({ ...keys('7'), table: 'nowhere' }))).toBe('CF-1008');

    const recopy = (id: string, request: unknown): string => JSON.stringify({ t: 'recopy', id, request });
    await stage.put(
      recopy('wide', keys('7', '8')),
      recopy('odd', keys('abc')),
      '{"t":"recopy","id":"torn',
      JSON.stringify({ t: 'archive', id: 'later' }),
      recopy('nowhere', { ...keys('7'), table: 'nowhere' }),
    );
    await control.throttle({ maxRowsPerSecond: 7 });
    await control.pause();
    const errors = [/2 values/, /\(abc\) is no value/, /none that this version knows/, /nowhere is not part/];
    await vi.waitFor(async () => {
      const { refused, ...set } = await copy();
      expect(set, reader.logTail()).toEqual({ paused: true, maxRowsPerSecond: 7, maxBytesPerSecond: null });
      expect(refused.map(({ error }) => error)).toEqual(errors.map((error) => expect.stringMatching(error) as string));
    }, WAIT);
    expect(reader.result).toBeUndefined();

    await reader.kill();
    stage.start('reader', 'reader-2');
    await control.resume();
    await vi.waitFor(async () => expect(await copy()).toMatchObject({ paused: false, maxRowsPerSecond: 7 }), WAIT);
    expect((await copy()).refused).toHaveLength(4);
  }, 180_000);
});
