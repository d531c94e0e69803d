/** A migration as services over the shared broker, between two databases of one server. Guarantee: processes and databases end with it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { explain, runCommand } from '#services/demo/pipeline/command.ts';
import { describeEnd, Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { messageOf } from '#schemas/errors.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { execute } from '#test/support/application.ts';
import { startPostgres } from '#test/support/postgres.ts';
import { sharedKafka } from './shared-servers.ts';

const WAIT = { timeout: 60_000, interval: 100 };

export interface ServicesOptions {
  /** SQL for both databases, unless the target has its own. */
  readonly tables: string;
  readonly targetTables?: string;
  /** SQL for the source only. */
  readonly rows?: string;
  /** Of the file, behind name and addresses; partitions and format of Kafka are set. */
  readonly rest: string;
  readonly kafka?: string;
  /** Other than the shared ones. */
  readonly brokers?: readonly string[];
}

export interface ServicesStage extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly name: string;
  readonly file: string;
  readonly directory: string;
  /** The processes that have to live until the end. */
  readonly running: Pipeline[];
  start(command: string, name?: string, args?: readonly string[], env?: Readonly<Record<string, string>>): Pipeline;
  status(): Promise<StatusResult>;
  /** Until the query gives the same rows on both sides. @throws at once when one of the processes ends */
  untilSame(query: string, sourceQuery?: string): Promise<void>;
  /** @throws at once when one of the processes ends */
  until(condition: () => Promise<void>): Promise<void>;
}

let stages = 0;

export async function openServices(options: ServicesOptions): Promise<ServicesStage> {
  const { brokers } = options.brokers === undefined ? await sharedKafka() : { brokers: options.brokers };
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres({ version: 18 }));
  const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
  await execute(source, options.tables);
  await execute(target, options.targetTables ?? options.tables);
  if (options.rows !== undefined) await execute(source, options.rows);
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-services-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const name = `services_${process.pid}_${++stages}`;
  const file = join(directory, 'migration.yaml');
  const kafka = `brokers: [${brokers.map((broker) => `"${broker}"`).join(', ')}], partitions: 3${options.kafka ?? ''}`;
  await writeFile(
    file,
    `crossfade: 1\nname: ${name}\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\nlog: { kafka: { ${kafka} } }\n${options.rest}`,
  );
  const kept = stack.move();
  const running: Pipeline[] = [];
  const until = (condition: () => Promise<void>): Promise<void> => untilOrEnd(running, vi.waitFor(condition, WAIT));
  const status = async (): Promise<StatusResult> => {
    const answer = await runCommand<StatusResult>(['status'], { file, dataDir: join(directory, 'command') });
    if (answer.envelope?.result === undefined) throw new Error(explain(answer));
    return answer.envelope.result;
  };
  return {
    source,
    target,
    name,
    file,
    directory,
    running,
    status,
    until,
    untilSame: (query, sourceQuery = query) =>
      until(async () => expect(await execute(target, query), query).toEqual(await execute(source, sourceQuery))),
    // oxlint-disable-next-line max-params -- most tests give one or two
    start: (command, service = command, args = [], env = {}) => {
      const pipeline = Pipeline.start({
        command,
        args,
        env,
        file,
        dataDir: join(directory, service),
        logFile: join(directory, `${service}.log`),
      });
      running.push(kept.use(pipeline));
      return pipeline;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function untilOrEnd(running: readonly Pipeline[], condition: Promise<void>): Promise<void> {
  const ended = running.map(async (pipeline) => {
    const end = await pipeline.ended();
    throw new Error(`${pipeline.command} ended (${describeEnd(end)})\n${pipeline.logTail(30)}`);
  });
  for (const end of ended) end.catch(() => undefined);
  await Promise.race([condition, ...ended]).catch((error: unknown) => {
    throw new Error(`${messageOf(error)}\n${running.map((one) => `--- ${one.command}\n${one.logTail(12)}`).join('\n')}`, { cause: error });
  });
}
