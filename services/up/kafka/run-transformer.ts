/** `crossfade transformer`. Guarantee: as of services/transformer, in a process of its own. */
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import type { Transformer } from '#services/transformer/transformer.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import { openTransformer } from './open-transformer.ts';
import { plainMigration } from './ready.ts';
import { retried } from './retried.ts';
import { runServiceProcess } from './service-process.ts';

export async function runTransformer(options: RunServiceOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  const { logger } = options;
  let transformer: Transformer | undefined;
  await runServiceProcess(options, {
    run: async (signal) => {
      const migration = await plainMigration(options, signal);
      await using opened = await retried({ signal, logger, what: 'Kafka cannot be reached' }, () =>
        openTransformer({ ...options, migration }),
      );
      transformer = opened.transformer;
      await transformer.run(signal);
    },
    readiness: () => {
      const status = transformer?.status();
      if (status === undefined || status.state === 'joining') return { ready: false, reason: 'joining the others' };
      return status.error === undefined ? { ready: true } : { ready: false, reason: status.error };
    },
    registerMetrics: (meter) => {
      const records = (kind: 'mapped' | 'left-out' | 'misfit' | 'unmapped'): number => transformer?.status().records[kind] ?? 0;
      meter.gauge(
        { name: 'partitions_held', help: 'Raw partition numbers mapped here.' },
        () => transformer?.status().partitions.length ?? 0,
      );
      meter.gauge({ name: 'records_mapped', help: 'Raw records mapped since the start.' }, () => records('mapped'));
      meter.gauge({ name: 'records_left_out', help: 'Raw records that the mapping’s filter took.' }, () => records('left-out'));
      meter.gauge({ name: 'records_unmapped', help: 'Raw records of which the mapping makes nothing.' }, () => records('unmapped'));
      meter.gauge({ name: 'records_misfit', help: 'Raw records that lack a mapped column.' }, () => records('misfit'));
      meter.gauge({ name: 'transformer_failures', help: 'Times that mapping was interrupted.' }, () => transformer?.status().failures ?? 0);
    },
  });
}
