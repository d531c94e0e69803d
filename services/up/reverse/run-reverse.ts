/**
 * One run of the reverse direction: reader, copier and sink of the derived file, as of any other, in the process of the forward one.
 * Guarantee: nothing is copied that nobody asked for; nothing reaches the source that was written on the target while the source served.
 */
import { join } from 'node:path';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { connect } from '#connectors/postgres/session.ts';
import { type NamedCatalog, readNamedCatalog } from '#connectors/catalog/named-catalog.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { PipelineError } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { tableId, type CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { presented, standing, swapsNames } from '#schemas/mapping/renames.ts';
import { deriveReverse, whyNoReverse, type ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { otherSinks } from '#schemas/config/wave-file.ts';
import type { Catalog } from '#schemas/table.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { assemble, type Running } from '../assemble.ts';
import { keepTrimmed } from '../keep-trimmed.ts';
import { openTargets } from '../open-targets.ts';
import { ServiceGroup } from '../service-group.ts';
import { beginReverse, type ReverseLog } from './begin-reverse.ts';
import { ForeignGate } from './foreign-gate.ts';
import { ownerOf } from '../own-rows.ts';
import type { ServingSide } from './serving-side.ts';

export interface ReverseRun {
  /** Of the forward direction. */
  readonly options: Pick<RunUpOptions, 'file' | 'dataDir' | 'logger' | 'environment'>;
  readonly serving: ServingSide;
  /** A place that was lost while the target serves is given up. */
  readonly mayLose: boolean;
  readonly signal: AbortSignal;
  /** The stream is open, and everything else runs. */
  readonly onRunning: (running: Running) => void;
}

interface Derived extends ReverseDerivation {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  /** As the server has it. */
  readonly target: Catalog;
}

/** Resolves when the signal came and all that was read is drained. @throws PipelineError for what ended it */
export async function runReverse({ options, serving, mayLose, signal, onRunning }: ReverseRun): Promise<void> {
  const derived = await derive(options.file);
  const { file, mapping } = derived;
  const dataDir = join(options.dataDir, 'reverse');
  const read = new Set(mapping.tables.map(({ from }) => tableId(from)));
  const tables = derived.target.tables.filter((table) => read.has(tableId(table)));
  await using stack = new AsyncDisposableStack();
  const log = stack.use(
    await beginReverse(
      { forwardName: options.file.name, file, mapping, tables, mayLose, logger: options.logger, signal },
      { directory: dataDir, open: async () => openLog(join(dataDir, 'log')) },
    ),
  );
  const foreign = stack.use(new ForeignGate(file, serving));
  const inner = { ...options, file, dataDir, host: '', port: 0, signal, onProgress: () => undefined };
  const group = stack.use(new ServiceGroup(signal));
  const targets = await openTargets(inner, log);
  for (const target of targets.all) group.start((own) => target.run(own));
  const taken = await group.orFailure(Promise.all(targets.all.map(({ ready }) => ready)));
  await targets.recorded(group.signal);
  const running = await assemble(inner, {
    ...log,
    targets,
    ordered: taken.map(({ ordered }) => ordered),
    stack,
    serving,
    direction: {
      ignoreOrigins: [options.file.name, ...otherSinks(options.file)],
      foreign,
      whose: ownerOf(mapping, tables),
      mayCopy: async () => (await serving.ask()) === 'target',
      isFilled: true,
    },
  });
  group.start((own) => running.reader.run(own));
  await group.orFailure(running.streaming);
  group.start((own) => running.copier.run(own));
  group.start((own) => keepTrimmed(running, file.settings.log.retainBytes, own));
  onRunning(running);
  await group.firstOf(undefined);
  await group.stop();
}

/** By the catalogues as they are now. @throws PipelineError CF-8201 */
async function derive(forward: MigrationFile): Promise<Derived> {
  const why = whyNoReverse(forward);
  if (why !== undefined) throw new PipelineError('CF-8201', `${forward.name} has no way back: ${why}`);
  const [ofSource, ofTarget] = await Promise.all([
    catalogOf(forward.source.postgres, 'source', forward),
    catalogOf(forward.target.postgres!, 'target', forward),
  ]);
  const { renames } = ofTarget;
  const [source, target] = [presented(ofSource.catalog, renames), presented(ofTarget.catalog, renames)];
  const compiled = compileMapping(forward, source, target);
  if (compiled.mapping === undefined)
    throw new PipelineError('CF-8201', `${forward.name} has no way back: file and catalogues do not fit any more`);
  const derived = deriveReverse(forward, standing(compiled.mapping, renames, swapsNames(forward)), { source, target });
  const { file, mapping } = derived;
  if (file === undefined || mapping === undefined) throw new PipelineError('CF-8201', `${forward.name} has no way back: ${derived.why}`);
  return { ...derived, file, mapping, target: ofTarget.catalog };
}

async function catalogOf(url: string, role: 'source' | 'target', file: MigrationFile): Promise<NamedCatalog> {
  const client = await connect(url, { applicationName: 'crossfade', role });
  try {
    return await readNamedCatalog(client, file);
  } finally {
    await client.end();
  }
}

interface OpenLog extends ReverseLog {
  readonly deadLetters: Topic;
}

async function openLog(directory: string): Promise<OpenLog> {
  const log = await openEmbeddedLog({ directory });
  return {
    raw: await log.topic('raw', { partitions: 1 }),
    progress: await log.topic('progress', { partitions: 1 }),
    deadLetters: await log.topic('dlq', { partitions: 1 }),
    [Symbol.asyncDispose]: async () => log.close(),
  };
}
