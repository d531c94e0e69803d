/** Tables that change their shape, through the services over Kafka. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { SPLIT } from '#test/support/shapes.ts';
import { SURROGATE } from '#test/support/surrogate-tables.ts';

const LONG_MS = 300_000;
const WAIT = { timeout: 120_000, interval: 200 };

describeWithKafka('shapes over Kafka', () => {
  test.each([SPLIT, SURROGATE])('$name: what it is in one process, though each service is killed', { timeout: LONG_MS }, async (shape) => {
    const { brokers } = await sharedKafka();
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-shape-kafka-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'm.yaml');
    const ends = `source: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\nheartbeatSeconds: 1\n`;
    const log = `log: { kafka: { brokers: ["${brokers.join('", "')}"], partitions: 2 } }\n`;
    await writeFile(file, `crossfade: 1\nname: ${shape.name}_${process.pid}\n${ends}${log}${shape.tables}`);
    await execute(from.url, shape.source, shape.fill);
    await execute(to.url, shape.target);
    const start = (command: string, as = command): Pipeline =>
      stack.use(Pipeline.start({ command, file, dataDir: join(directory, as), logFile: join(directory, `${as}.log`), env: {} }));
    const services = ['reader', 'sink', 'transformer'];
    const running = services.map((service) => start(service));
    let round = 0;
    const write = async (rounds: number): Promise<void> => {
      for (let i = 0; i < rounds; i++) await execute(from.url, ...shape.changes(round++));
    };
    const found = shape.same[0]![1].replace(/ORDER BY .*/, 'LIMIT 1');
    await vi.waitFor(async () => expect(await execute(to.url, found)).toHaveLength(1), WAIT);
    for (const [i, service] of services.entries()) {
      await write(8);
      await running[i]!.kill();
      await write(4);
      start(service, `${service}-2`);
    }
    await write(8);
    for (const [source, target] of shape.same)
      await vi.waitFor(async () => expect(await execute(to.url, target)).toEqual(await execute(from.url, source)), WAIT);
    const verified = await runCommand<VerifyResult>(['verify'], { file, dataDir: join(directory, 'cli') });
    expect(verified.code, explain(verified)).toBe(0);
  });
});
