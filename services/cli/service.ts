/**
 * `reader`, `transformer`, `sink`, `reconciler`, `control`: each service as a process of its own, over Kafka. Guarantee: SIGTERM drains and
 * exits 0; several of one kind may run; none needs another to be there when it starts.
 */
import type { Command } from 'commander';
import { PipelineError } from '#schemas/errors.ts';
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { httpOptions, readHttpOptions } from './http-options.ts';
import { loadSigned, planOption, tellChanges } from './plan/signed-plan.ts';
import { createProgressOutput } from './progress-view.ts';
import type { RunServiceOptions } from './service-port.ts';

type Run = (options: RunServiceOptions, context: CommandContext) => Promise<void>;

const VERIFY_EVERY_SECONDS = 300;

// Each is loaded late: it brings its services and adapters with it.
export const readerCommand: CommandSpec = service({
  name: 'reader',
  about: 'Read the source into Kafka: copy, then follow. Of several one reads, the others stand by.',
  run: async (options) => (await import('#services/up/kafka/run-reader.ts')).runReader(options),
});

export const transformerCommand: CommandSpec = service({
  name: 'transformer',
  about: 'Map rows from the raw topics to the mapped topics. Several share the partitions.',
  run: async (options) => (await import('#services/up/kafka/run-transformer.ts')).runTransformer(options),
});

export const sinkCommand: CommandSpec = service({
  name: 'sink',
  about: 'Apply the mapped topics to the target. Of several one acts, the others take over within seconds.',
  run: async (options) => (await import('#services/up/kafka/run-sink.ts')).runSink(options),
});

export const controlCommand: CommandSpec = service({
  name: 'control',
  about: 'Serve status and control over HTTP for services that run as processes of their own.',
  configure: httpOptions,
  run: async (options) => (await import('#services/up/kafka/run-control.ts')).runControl(options),
});

export const reconcilerCommand: CommandSpec = {
  ...service({
    name: 'reconciler',
    about: 'Compare source and target again and again, as verify does.',
    run: async (options, context) => {
      const intervalMs = readSeconds(context.options.text('interval')) * 1000;
      const { runReconciler } = await import('#services/up/kafka/run-reconciler.ts');
      await runReconciler({ ...options, intervalMs });
    },
  }),
  configure: (command) => {
    serviceOptions(command);
    command.option('--interval <seconds>', 'time between two comparisons', String(VERIFY_EVERY_SECONDS));
  },
};

function serviceOptions(command: Command): void {
  httpOptions(command);
  planOption(command);
}

interface ServiceSpec {
  readonly name: string;
  readonly about: string;
  readonly run: Run;
  readonly configure?: CommandSpec['configure'];
}

function service({ name, about, run, configure = serviceOptions }: ServiceSpec): CommandSpec {
  return {
    name,
    about,
    examples: [[`crossfade ${name} --port 0`, 'until Ctrl-C or SIGTERM, which drain; needs log: { kafka: … } in the file']],
    configure,
    drains: true,
    run: async (context) => runService(name, run, context),
  };
}

async function runService(name: string, run: Run, context: CommandContext): Promise<Outcome> {
  const http = readHttpOptions(context.options);
  const input = await loadSigned(context);
  const kafka = kafkaOf(input.file, name);
  const output = createProgressOutput(context.io.stderr, context.paint, context.log);
  try {
    await run(
      {
        ...input,
        ...http,
        kafka,
        signal: context.signal,
        logger: context.log,
        environment: context.io.environment,
        onProgress: (status) => output.show(status),
      },
      context,
    );
  } catch (error) {
    if (!context.signal.aborted || isFault(error)) throw await tellChanges(error, input);
  } finally {
    output.end();
  }
  return { summary: `${name} of ${input.file.name} stopped`, result: null };
}

/** @throws PipelineError CF-1004 when the file has none. */
export function kafkaOf(file: MigrationFile, command: string): KafkaSettings {
  const { kafka } = file.settings.log;
  if (kafka !== undefined) return kafka;
  throw new PipelineError('CF-1004', `crossfade ${command} needs log: { kafka: … } in the file`, {
    path: file.path,
    remedy: 'Write log: { kafka: { brokers: ["host:9092"] } }, or run everything in one process: crossfade up.',
  });
}

/** A stop while starting comes as an abort, or as CF-7002 of what was under way; anything else is a failure even then. */
export function isFault(error: unknown): boolean {
  return error instanceof PipelineError
    ? error.code !== 'CF-7002'
    : !(error instanceof Error && ['AbortError', 'StopRequest'].includes(error.name));
}

function readSeconds(text = ''): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new PipelineError('CF-1007', `--interval is not a number of seconds: ${JSON.stringify(text)}`);
}
