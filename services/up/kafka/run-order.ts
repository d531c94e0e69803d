/** `crossfade reader` where a Debezium connector reads the source. Guarantee: as of order-service.ts, in a process of its own. */
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import type { KafkaInput } from '#schemas/config/migration-file.ts';
import { readMigration } from '../read-migration.ts';
import { openKafka } from './open-kafka.ts';
import { OrderService } from './order-service.ts';
import { checkedMigration } from './ready.ts';
import { runServiceProcess } from './service-process.ts';

export async function runOrder(options: RunServiceOptions, input: KafkaInput): Promise<void> {
  const { file, logger } = options;
  let service: OrderService | undefined;
  await runServiceProcess(options, {
    run: async (signal) => {
      await checkedMigration(options, signal);
      service = new OrderService({
        file,
        input,
        kafka: options.kafka,
        logger,
        readMigration: () => readMigration(file),
        openKafka: () => openKafka(options, 'reader'),
      });
      await service.run(signal);
    },
    readiness: () => (service === undefined ? { ready: false, reason: 'waiting for source and target' } : { ready: true }),
    registerMetrics: (meter) => {
      meter.gauge({ name: 'reader_active', help: '1 while this reader is the one that orders.' }, () => Number(service?.active === true));
      meter.gauge(
        { name: 'records_repeated', help: 'Records that the connector repeated after a restart, left out since the start.' },
        () => service?.repeats ?? 0,
      );
    },
  });
}
