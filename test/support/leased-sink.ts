/**
 * A process with one sink service (services/up/kafka/sink-service.ts) over a log of its own, written by hand: `node leased-sink.ts URL
 * DIRECTORY`. Every process that is told the same writes the same log, as if all of them read one. Guarantee: it acts only on messages of
 * its parent (`write n`: n more transactions of one row each) and tells what it does (`ready`, `written OFFSET`, `log …`, `failed …`).
 */
import { join } from 'node:path';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { messageOf } from '#schemas/errors.ts';
import type { Logger } from '#services/runtime/service.ts';
import { SinkService } from '#services/up/kafka/sink-service.ts';
import { readMigration } from '#services/up/read-migration.ts';
import { leaseFile } from '#test/support/leased-sinks.ts';
import { insertFrame, LogWriter, relationFrame } from '#test/support/sink-frames.ts';

const [url = '', directory = ''] = process.argv.slice(2);
const file = leaseFile(url);
const migration = await readMigration(file);
const [table] = migration.sourceTables;
const log = await openEmbeddedLog({ directory: join(directory, 'log') });
const raw = await log.topic('raw', { partitions: 1 });
const progress = await log.topic('progress', { partitions: 1 });
const requests = await log.topic('requests', { partitions: 1 });
const writer = new LogWriter(raw, progress);
await writer.epoch(1);
await writer.state(table!, 'following');
await writer.copyComplete();
let rows = 0;

const say = (text: string): void => void process.send?.(text);
const tell = (_details: unknown, message: string): void => say(`log ${message}`);
const logger: Logger = { info: tell, warn: tell, error: tell, debug: () => undefined };

const service = new SinkService({
  file,
  migration,
  logger,
  openLog: async () => ({
    raw,
    progress,
    requests,
    mapping: migration.mapping,
    onRelation: () => undefined,
    close: async () => undefined,
  }),
});

process.on('message', (message: string) => {
  const count = Number(message.split(' ')[1]);
  void (async () => {
    for (let i = 0; i < count; i++) {
      rows++;
      const relation = rows === 1 ? [relationFrame(table!)] : [];
      await writer.transaction(...relation, insertFrame(table!.oid, [rows, `row ${rows}`]));
    }
    say(`written ${raw.end(0)}`);
  })();
});

const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
say('ready');
await service.run(stop.signal).catch((error: unknown) => say(`failed ${messageOf(error)}`));
await log.close();
process.exit(0);
