/**
 * The broker is away for a while under load. Guarantee: it returns only when the reader's metrics have shown the source's WAL grow
 * meanwhile, and source and target hold the same rows at the end, without anybody having restarted a service.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seeded } from '#test/support/random.ts';
import { type LedgerFigures, readLedger } from '../kill/ledger.ts';
import { startLoad } from '../kill/load.ts';
import { fileBody, sourceSql, targetSql } from '../kill/tables.ts';
import { Fleet } from './fleet.ts';
import { openKafkaStage } from './kafka-stage.ts';
import { allFrom, compare, untilArrived, untilConsistent } from './settled.ts';

export interface OutageOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly rows: number;
  readonly say: (text: string) => void;
}

export interface OutageReport {
  readonly retainedBytesBefore: number;
  readonly retainedBytesMost: number;
  readonly caughtUpSeconds: number;
  readonly rowsCompared: number;
  readonly ledger: LedgerFigures;
}

const WRITERS = 3;
const LOOK_EVERY_MS = 500;
/** The address is told at the start; warnings follow while the broker is away. */
const LOG_LINES = 10_000;
const READER = { service: 'reader', number: 0 } as const;

export async function runOutage(options: OutageOptions): Promise<OutageReport> {
  const random = seeded(options.seed);
  await using stage = await openKafkaStage({
    name: 'outage',
    file: fileBody('fast'),
    sourceSql: sourceSql(options.rows),
    targetSql: targetSql(),
  });
  await using load = await startLoad(stage, WRITERS, () => random.next() * 2 - 1);
  await using fleet = new Fleet({
    file: stage.pipeline.file,
    directory: stage.directory,
    counts: { reader: 1, transformer: 2, sink: 2 },
  });
  fleet.startAll();
  const strictFrom = await untilConsistent(stage, fleet);
  const retainedBytesBefore = await retainedBytes(fleet);
  await stage.kafka.kill();
  options.say(`the broker is away; the slot holds ${retainedBytesBefore} bytes`);
  let retainedBytesMost = 0;
  const until = Date.now() + options.seconds * 1000;
  while (Date.now() < until) {
    await delay(LOOK_EVERY_MS);
    fleet.check();
    retainedBytesMost = Math.max(retainedBytesMost, await retainedBytes(fleet));
  }
  options.say(`the broker comes back; the slot holds up to ${retainedBytesMost} bytes`);
  await stage.kafka.start();
  const back = Date.now();
  const last = await load.stop();
  await untilArrived(stage, fleet, last);
  const caughtUpSeconds = (Date.now() - back) / 1000;
  if (fleet.restarts > 0) throw new Error('a service was restarted');
  const rowsCompared = await compare(stage);
  const ledger = await readLedger(stage.targetUrl, allFrom(strictFrom));
  return { retainedBytesBefore, retainedBytesMost, caughtUpSeconds, rowsCompared, ledger };
}

/** As the reader's metrics say; 0 while they say nothing. */
async function retainedBytes(fleet: Fleet): Promise<number> {
  const url = /.*"url":"([^"]+)","msg":"health/s.exec(fleet.process(READER).logTail(LOG_LINES))?.[1];
  const text = url === undefined ? '' : await (await fetch(new URL('/metrics', url))).text();
  return Number(/^crossfade_slot_retained_bytes (\S+)$/m.exec(text)?.[1] ?? 0);
}
