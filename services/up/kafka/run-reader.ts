/** `crossfade reader`. Guarantee: as of reader-service.ts, in a process of its own. */
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import { readMigration, type Migration } from '../read-migration.ts';
import { openKafka } from './open-kafka.ts';
import { readAppliedLsn } from './applied-lsn.ts';
import { openReaderLog } from './open-reader-log.ts';
import { runOrder } from './run-order.ts';
import { ReaderService } from './reader-service.ts';
import { checkedMigration } from './ready.ts';
import { runServiceProcess } from './service-process.ts';
import { IDLE_READER, readerStatus } from './service-status.ts';
import { SlotWatch } from './slot-watch.ts';

export async function runReader(options: RunServiceOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  const { input } = options.kafka;
  if (input !== undefined) return runOrder(options, input);
  const watch = new SlotWatch({ name: options.file.name, url: options.file.source.postgres, logger: options.logger });
  let service: ReaderService | undefined;
  let migration: Migration | undefined;
  const reader = (): ReturnType<NonNullable<ReaderService['now']>['reader']['status']> => service?.now?.reader.status() ?? IDLE_READER;
  await runServiceProcess(options, {
    run: async (signal) => {
      migration = await checkedMigration(options, signal);
      service = new ReaderService(readerOptions(options));
      await Promise.all([service.run(signal), watch.run(signal)]);
    },
    // A standby is as ready as it can be: it takes over by itself.
    readiness: () =>
      service === undefined
        ? { ready: false, reason: 'waiting for source and target' }
        : service.now === undefined || reader().connected
          ? { ready: true }
          : { ready: false, reason: 'connecting to the source' },
    status: (): StatusResult | undefined =>
      service?.now === undefined || migration === undefined
        ? undefined
        : readerStatus({ name: options.file.name, mapping: migration.mapping }, reader(), service.now.copier),
    registerMetrics: (meter) => {
      meter.gauge({ name: 'reader_active', help: '1 while this reader is the one that reads.' }, () => Number(service?.now !== undefined));
      meter.gauge({ name: 'source_connected', help: '1 while the stream from the source is open.' }, () => Number(reader().connected));
      meter.gauge({ name: 'slot_retained_bytes', help: 'WAL that the slot holds on the source.' }, () => watch.health?.retainedBytes);
      meter.gauge(
        { name: 'slot_safe_wal_bytes', help: 'WAL that may be written before the slot is lost.' },
        () => watch.health?.safeWalBytes,
      );
      meter.gauge({ name: 'restarts', help: 'Times that the stream was started again in this tenure.' }, () => reader().restarts);
      meter.gauge({ name: 'epoch', help: 'Epoch of this reader; 0 while it stands by.' }, () => reader().epoch);
    },
  });
}

function readerOptions(options: RunServiceOptions): ConstructorParameters<typeof ReaderService>[0] {
  const { file, dataDir, logger } = options;
  return {
    file,
    dataDir,
    logger,
    readMigration: () => readMigration(file),
    openLog: async (migration) => openReaderLog(await openKafka(options, 'reader'), { ...options, migration }),
    appliedLsn: () => readAppliedLsn(file),
  };
}
