/**
 * `npm run bench`: our pipeline beside native logical replication, or over Kafka beside Debezium, on the same servers, in the same run, in
 * alternating order. Guarantee: ends with a JSON file and a table, or exit code 1 and the reason (3: no Kafka to be had here); leaves no
 * server, slot or file behind (except those).
 */
import { makeScratch } from '#services/demo/pipeline/scratch.ts';
import type { Contender } from './contender.ts';
import { Debezium } from './kafka/debezium.ts';
import { KafkaLab, kafkaMissing } from './kafka/lab.ts';
import { benchDualWrite } from './dual-write.ts';
import { OverKafka } from './kafka/services.ts';
import { catchUp, measureCopy, measureDrain, measureLatency, type Result, SETS } from './measure.ts';
import { Native } from './native.ts';
import { type BenchOptions, type ContenderName, needsKafka, readOptions, USAGE } from './options.ts';
import { Ours, type OursOptions } from './ours.ts';
import { machine, markdown, ratios, type Report, thousands, writeReport } from './report.ts';
import { openStage, serverSettings, type Stage } from './stage.ts';
import { ALL_TABLES, settle, writeBacklog } from './workload.ts';
import { Database } from './database.ts';

type Make = () => Contender;

const EXIT_NO_KAFKA = 3;

async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    console.log(USAGE);
    return 0;
  }
  const options = readOptions(argv);
  if (options.dualWrite) {
    console.log(await benchDualWrite(options.latencySeconds));
    return 0;
  }
  const missing = needsKafka(options.contenders) ? await kafkaMissing() : undefined;
  if (missing !== undefined) {
    console.error(missing);
    return EXIT_NO_KAFKA;
  }
  using scratch = makeScratch('crossfade-bench-');
  await run(options, scratch.path);
  return 0;
}

async function run(options: BenchOptions, directory: string): Promise<void> {
  say(`loading: ${options.lines} order lines, ${options.scale * 100_000} accounts, ${options.wideRows} wide rows`);
  await using servers = await openStage(options);
  await using lab = needsKafka(options.contenders) ? await KafkaLab.start() : undefined;
  const stage = lab === undefined ? servers : { ...servers, clusters: [...servers.clusters, lab.usage()] };
  const { nodeArgs, settings, profile } = options;
  const contenders = options.contenders.map((name) => maker(name, { options, lab, ours: { directory, nodeArgs, settings, profile } }));
  const results: Result[] = [];
  const note = (result: Result): void => {
    results.push(result);
    say(oneLine(result));
  };
  const rounds: Rounds = { options, note };
  const [copy, stream] = [options.parts.includes('copy'), options.parts.some((part) => part !== 'copy')];
  // The copies that a stream begins with bring Debezium's workers to their speed before a copy is measured.
  if (lab !== undefined && stream) await streaming(stage, contenders, rounds);
  if (copy) await copies(stage, contenders, rounds);
  if (lab === undefined && stream) await streaming(stage, contenders, rounds);
  const report: Report = {
    at: new Date().toISOString(),
    machine: machine(),
    servers: { ...stage.versions, settings: serverSettings(options) },
    options,
    contenders: Object.fromEntries(contenders.map((make) => make()).map((one) => [one.name, one.setting])),
    results,
    ratios: ratios(results),
  };
  const path = writeReport(report);
  console.log(`\n${markdown(report)}\n\nJSON: ${path}`);
}

interface Making {
  readonly options: BenchOptions;
  readonly lab: KafkaLab | undefined;
  readonly ours: OursOptions;
}

function maker(name: ContenderName, { options, lab, ours }: Making): Make {
  if (name === 'native') return () => new Native(options.subscription);
  if (name === 'crossfade') return () => new Ours(ours);
  if (lab === undefined) throw new Error(`${name} needs a broker`);
  if (name === 'debezium') return () => new Debezium(lab);
  return () => new OverKafka(lab, { ...ours, name, instances: name === 'kafka' ? 1 : 2 });
}

interface Rounds {
  readonly options: BenchOptions;
  readonly note: (result: Result) => void;
}

/** Who goes first alternates, so that warm caches and a tired disk favour neither. */
function inTurn<T>(all: readonly T[], round: number): readonly T[] {
  return round % 2 === 1 ? all : all.toReversed();
}

async function copies(stage: Stage, contenders: readonly Make[], { options, note }: Rounds): Promise<void> {
  for (let round = 1; round <= options.rounds; round++) {
    for (const set of Object.keys(SETS)) {
      for (const make of inTurn(contenders, round)) note(await measureCopy(stage, make(), { set, round }));
    }
  }
}

/** All contenders hold a copy of their own of everything; one runs at a time. */
async function streaming(stage: Stage, makers: readonly Make[], { options, note }: Rounds): Promise<void> {
  const contenders: Contender[] = [];
  try {
    for (const make of makers) {
      const contender = make();
      contenders.push(contender);
      const label = `follow_${contender.name}`;
      const copied = { sourceUrl: stage.sourceUrl, targetUrl: await stage.freshTarget(label), tables: ALL_TABLES, label };
      say(`${contender.name} takes its copy of everything (not measured)`);
      await contender.prepare?.(copied);
      await contender.copy(copied);
      await contender.pause();
    }
    if (options.parts.includes('drain')) await drains(stage, contenders, { options, note });
    if (options.parts.includes('latency')) {
      for (let round = 1; round <= options.rounds; round++) {
        for (const contender of inTurn(contenders, round)) {
          await catchUp(stage, contender);
          note(await measureLatency(stage, contender, { options, round }));
        }
      }
    }
  } finally {
    for (const contender of contenders) await contender.remove();
  }
}

/**
 * Round 0 is a warm-up, in the JSON but in no median: it fills pages that the copy left full (measured: native's bulk update 45 k rows/s
 * in it, 123 k and 125 k after it).
 */
async function drains(stage: Stage, contenders: readonly Contender[], { options, note }: Rounds): Promise<void> {
  for (let round = 0; round <= options.rounds; round++) {
    for (const kind of options.backlogs) {
      say(`writing a backlog: ${kind}${round === 0 ? ', for the warm-up' : ''}`);
      const backlog = await writeBacklog(stage.source, kind, options);
      await settleAll(stage, contenders);
      for (const contender of inTurn(contenders, round)) {
        note(await measureDrain(stage, contender, { backlog, round }));
        const profile = contender.profile();
        if (profile !== undefined) say(`where the time went, ${kind} round ${round}:\n${profile}`);
      }
    }
  }
}

async function settleAll(stage: Stage, contenders: readonly Contender[]): Promise<void> {
  await settle(stage.source);
  for (const contender of contenders) {
    await using target = await Database.open(contender.targetUrl);
    await settle(target);
  }
}

function oneLine(result: Result): string {
  const figure =
    result.latency === undefined
      ? `${thousands(result.rowsPerSecond)} rows/s (${result.rows} in ${result.seconds?.toFixed(2)} s)`
      : `p50 ${result.latency.p50Ms.toFixed(1)} ms, p99 ${result.latency.p99Ms.toFixed(1)} ms, max ${result.latency.maxMs.toFixed(1)} ms at ${result.latency.achievedTps.toFixed(0)} tps`;
  return `${result.part} ${result.what} ${result.contender} round ${result.round}: ${figure}, load ${result.load.toFixed(1)}`;
}

function say(text: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
});
