/** Computed columns through the services over Kafka. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import {
  changes,
  EXPECTED,
  EXPECTED_PAGES,
  FILL,
  FILL_PAGES,
  FOUND,
  FOUND_PAGES,
  FUNCTIONS,
  SOURCE,
  TABLES,
  TARGET,
  TOKEN_KEY,
} from '#test/support/computed-tables.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const LONG_MS = 240_000;
const WAIT = { timeout: 90_000, interval: 200 };

describeWithKafka('computed columns over Kafka', () => {
  test('are what they are in one process, through a transformer that is killed', { timeout: LONG_MS }, async () => {
    const { brokers } = await sharedKafka();
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-set-kafka-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'm.yaml');
    const ends = `source: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\nheartbeatSeconds: 1\n`;
    const log = `log: { kafka: { brokers: ["${brokers.join('", "')}"], partitions: 2 } }\n`;
    await writeFile(file, `crossfade: 1\nname: computed_${process.pid}\n${ends}${log}${TABLES}`);
    await writeFile(join(directory, 'functions.ts'), FUNCTIONS);
    await execute(from.url, SOURCE, FILL, FILL_PAGES);
    await execute(to.url, TARGET);
    const start = (command: string, as = command): Pipeline =>
      stack.use(Pipeline.start({ command, file, dataDir: join(directory, as), logFile: join(directory, `${as}.log`), env: { TOKEN_KEY } }));
    start('reader');
    start('sink');
    const first = start('transformer');
    const same = async (): Promise<void> => {
      expect(await execute(to.url, FOUND), first.logTail(10)).toEqual(await execute(from.url, EXPECTED));
      expect(await execute(to.url, FOUND_PAGES)).toEqual(await execute(from.url, EXPECTED_PAGES));
    };
    for (let round = 0; round < 10; round++) await execute(from.url, ...changes(round));
    await vi.waitFor(async () => expect((await execute(to.url, 'SELECT FROM customer LIMIT 1')).length).toBe(1), WAIT);
    await first.kill();
    start('transformer', 'transformer-2');
    for (let round = 10; round < 25; round++) await execute(from.url, ...changes(round));
    await vi.waitFor(same, WAIT);
    const verified = await runCommand<VerifyResult>(['verify'], { file, dataDir: join(directory, 'cli'), env: { TOKEN_KEY } });
    expect(verified.code, explain(verified)).toBe(0);
  });
});
