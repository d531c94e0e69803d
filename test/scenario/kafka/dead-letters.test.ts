import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openKafkaCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { startPostgres } from '#test/support/postgres.ts';

const WAIT = { timeout: 60_000, interval: 100 };
const LONG_MS = 180_000;

async function recordsOf(brokers: readonly string[], topic: string, partition = 0): Promise<FetchedRecord[]> {
  const settings = { brokers, partitions: 1, format: 'avro', compression: 'none' } as const;
  const cluster = await openKafkaCluster(settings, { clientId: 'test', logger: silentLogger });
  const fetcher = await cluster.fetcher();
  try {
    const bounds = (await cluster.bounds(topic))[partition];
    const records: FetchedRecord[] = [];
    fetcher.seek({ topic, partition }, bounds!.start);
    for (let next = bounds!.start; next < bounds!.end;) {
      for (const fetched of (await fetcher.next(AbortSignal.timeout(20_000))) ?? []) {
        records.push(...recordsIn(fetched));
        next = fetched.next;
      }
    }
    return records;
  } finally {
    await fetcher.close();
    await cluster.close();
  }
}

describeWithKafka('rows set aside over Kafka', () => {
  test(
    'stand in NAME.dlq with the headers of a Connect dead letter queue, also when the sink is killed before it noted that, and come with a retry',
    async () => {
      const { brokers } = await sharedKafka();
      await using stack = new AsyncDisposableStack();
      const server = stack.use(await startPostgres({ version: 18 }));
      const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
      const name = `dlq_${process.pid}`;
      const directory = await mkdtemp(join(tmpdir(), 'crossfade-dlq-'));
      stack.defer(() => rm(directory, { recursive: true, force: true }));
      const file = join(directory, 'migration.yaml');
      await writeFile(
        file,
        `crossfade: 1\nname: ${name}\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\nheartbeatSeconds: 1\n` +
          `tables:\n  - { from: public.item, to: public.thing, columns: { label: name } }\nsink: { onRowError: set-aside }\n` +
          `log: { kafka: { brokers: [${brokers.map((broker) => `"${broker}"`).join(', ')}], partitions: 3, format: json } }\n`,
      );
      await execute(
        source,
        'CREATE TABLE item (id int PRIMARY KEY, label text)',
        `INSERT INTO item SELECT g, 'n' || g FROM generate_series(1, 900) g`,
      );
      await execute(source, `UPDATE item SET label = 'far too long' WHERE id = 500`);
      await execute(target, 'CREATE TABLE thing (id int PRIMARY KEY, name text CONSTRAINT short CHECK (length(name) < 10))');
      const start = (command: string, env: Record<string, string> = {}): Pipeline =>
        stack.use(Pipeline.start({ command, file, dataDir: join(directory, command), logFile: join(directory, `${command}.log`), env }));
      start('reader');
      start('transformer');
      const killed = start('sink', { CROSSFADE_TEST_FAILPOINT: 'dlq.published' });
      expect(await killed.ended(), killed.logTail(30)).toMatchObject({ signal: 'SIGKILL' });
      start('sink');
      const untilBlocked = (queued: string): Promise<void> =>
        vi.waitFor(async () => {
          const rows = await execute(target, 'SELECT key::text AS key, queued, published FROM crossfade.blocked ORDER BY id');
          expect(rows).toEqual([
            { key: '["500"]', queued: '0', published: 't' },
            { key: '["1000"]', queued, published: 't' },
          ]);
        }, WAIT);
      await execute(source, `INSERT INTO item VALUES (1000, 'also too long'), (1001, 'fine')`);
      await untilBlocked('0');
      await execute(source, `UPDATE item SET label = 'too long still' WHERE id = 1000`);
      await untilBlocked('1');
      await vi.waitFor(async () => expect(await execute(target, 'SELECT count(*) AS n FROM thing')).toEqual([{ n: '900' }]), WAIT);

      const records = await recordsOf(brokers, `${name}.dlq`);
      expect(new Set(records.map((record) => record.key?.toString()))).toEqual(new Set(['["500"]', '["1000"]']));
      const first = records[0]!;
      const header = (suffix: string): string | undefined => first.header(`__connect.errors.${suffix}`)?.toString();
      expect(header('topic')).toBe(`${name}.public.item`);
      // The very records: the row as it was copied, and the insert (the update behind it came later).
      for (const [key, op, label] of [
        ['["500"]', 'r', 'far too long'],
        ['["1000"]', 'c', 'also too long'],
      ] as const) {
        const letter = records.find((record) => record.key?.toString() === key)!;
        const [partition, offset] = ['partition', 'offset'].map((one) => Number(letter.header(`__connect.errors.${one}`)?.toString()));
        const raw = (await recordsOf(brokers, `${name}.public.item`, partition)).find((record) => record.offset === offset);
        expect(JSON.parse(raw!.value!.toString())).toMatchObject({ payload: { op, after: { id: Number(key.slice(2, -2)), label } } });
      }
      expect(header('connector.name')).toBe(name);
      expect(header('exception.message')).toMatch(/short/);
      for (const suffix of ['partition', 'offset', 'task.id', 'stage', 'class.name', 'exception.class.name', 'exception.stacktrace'])
        expect(header(suffix), suffix).toBeDefined();
      expect(JSON.parse(first.value!.toString())).toMatchObject({
        after: { id: '500', name: 'far too long' },
        source: { schema: 'public', table: 'item' },
        error: { sqlState: '23514', constraint: 'short' },
      });

      const dataDir = join(directory, 'command');
      const status = await runCommand<object>(['status'], { file, dataDir });
      expect(status.envelope?.result).toMatchObject({ deadLetters: 2, applied: { exact: false } });
      await execute(target, 'ALTER TABLE thing DROP CONSTRAINT short');
      const retried = await runCommand(['dlq', 'retry', '--all'], { file, dataDir });
      expect(retried.code, explain(retried)).toBe(0);
      const verified = await runCommand<VerifyResult>(['verify'], { file, dataDir });
      expect(verified.code, explain(verified)).toBe(0);
    },
    LONG_MS,
  );
});
