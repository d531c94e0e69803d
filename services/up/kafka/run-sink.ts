/** `crossfade sink`. Guarantee: as of sink-service.ts, in a process of its own. */
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { SinkStatus } from '#services/sink/sink.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import type { Migration } from '../read-migration.ts';
import { openKafka } from './open-kafka.ts';
import { openSinkLog } from './open-sink-log.ts';
import { checkedMigration } from './ready.ts';
import { runServiceProcess } from './service-process.ts';
import { IDLE_SINK, sinkStatus } from './service-status.ts';
import { SinkService } from './sink-service.ts';

export async function runSink(options: RunServiceOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  let service: SinkService | undefined;
  let migration: Migration | undefined;
  const sink = (): SinkStatus => service?.sink?.status() ?? IDLE_SINK;
  await runServiceProcess(options, {
    run: async (signal) => {
      migration = await checkedMigration(options, signal);
      service = new SinkService(sinkOptions(options, migration));
      await service.run(signal);
    },
    readiness: () =>
      service === undefined
        ? { ready: false, reason: 'waiting for source and target' }
        : service.sink === undefined || sink().connected
          ? { ready: true }
          : { ready: false, reason: 'connecting to the target' },
    status: (): StatusResult | undefined =>
      service?.sink === undefined || migration === undefined
        ? undefined
        : sinkStatus({ name: options.file.name, mapping: migration.mapping }, sink()),
    registerMetrics: (meter) => {
      const sum = (field: 'rowsCopied' | 'changesApplied'): number => sink().tables.reduce((total, table) => total + table[field], 0);
      meter.gauge({ name: 'sink_active', help: '1 while this sink is the one that acts.' }, () => Number(service?.sink !== undefined));
      meter.gauge({ name: 'target_connected', help: '1 while the sink holds the target.' }, () => Number(sink().connected));
      meter.gauge({ name: 'rows_copied', help: 'Rows copied from chunks.' }, () => sum('rowsCopied'));
      meter.gauge({ name: 'changes_applied', help: 'Row changes applied.' }, () => sum('changesApplied'));
      meter.gauge(
        { name: 'tables_held', help: 'Tables that are held.' },
        () => sink().tables.filter(({ state }) => state === 'held').length,
      );
      meter.gauge({ name: 'dead_letters', help: 'Keys that are blocked because a row was set aside.' }, () => sink().deadLetters);
    },
  });
}

function sinkOptions(options: RunServiceOptions, migration: Migration): ConstructorParameters<typeof SinkService>[0] {
  const { file, logger } = options;
  return { file, migration, logger, openLog: async () => openSinkLog(await openKafka(options, 'sink'), { ...options, migration }) };
}
