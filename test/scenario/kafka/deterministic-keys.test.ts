/** Primary keys computed from the source's, through the services over Kafka: order and partitions are those of the source's keys. */
import { expect, test } from 'vitest';
import { explain, runCommand } from '#services/demo/pipeline/command.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { openServices } from '#test/support/kafka/services-stage.ts';
import { UUID_EXPECTED, UUID_FOUND, UUID_SOURCE, UUID_TABLES, UUID_TARGET, uuidChanges } from '#test/support/uuid-tables.ts';

const LONG_MS = 180_000;
const ROUNDS = 25;

describeWithKafka('computed primary keys over Kafka', () => {
  test('are PostgreSQL’s own, and rows that refer to each other meet', { timeout: LONG_MS }, async () => {
    const rest = `heartbeatSeconds: 1\n${UUID_TABLES}`;
    await using stage = await openServices({ tables: UUID_SOURCE, targetTables: UUID_TARGET, rest });
    for (const command of ['reader', 'transformer', 'sink']) stage.start(command);
    for (let round = 0; round < ROUNDS; round++) await execute(stage.source, ...uuidChanges(round));
    for (const [i, sql] of UUID_FOUND.entries()) await stage.untilSame(sql, UUID_EXPECTED[i]);
    const verified = await runCommand(['verify'], { file: stage.file, dataDir: `${stage.directory}/verify` });
    expect(verified.code, explain(verified)).toBe(0);
  });
});
