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
const GROWTH_SEEN_SECONDS_MAX = 30;
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
  await stage.kafka.kill();
  options.say('the broker is away');
  const [retainedBytesBefore, retainedBytesMost] = await stayAway(fleet, options.seconds);
  options.say(`the broker comes back; the slot held ${retainedBytesBefore} bytes, and up to ${retainedBytesMost} after that`);
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

/**
 * What was sent before the outage is still confirmed in its first moments, so growth counts from the least that the slot held. The metrics are read
 * anew every few seconds: a short outage lasts until they were.
 * @returns the least, and the most that the metrics showed after it.
 */
async function stayAway(fleet: Fleet, seconds: number): Promise<[least: number, most: number]> {
  const away = Date.now();
  const passed = (): number => (Date.now() - away) / 1000;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  while (passed() < seconds || (most <= least && passed() < seconds + GROWTH_SEEN_SECONDS_MAX)) {
    await delay(LOOK_EVERY_MS);
    fleet.check();
    const now = await retainedBytes(fleet);
    if (now === undefined) continue;
    if (now < least) [least, most] = [now, now];
    most = Math.max(most, now);
  }
  return [least, most];
}

/** As the reader's metrics say; undefined while they say nothing. */
async function retainedBytes(fleet: Fleet): Promise<number | undefined> {
  const url = /.*"url":"([^"]+)","msg":"health/s.exec(fleet.process(READER).logTail(LOG_LINES))?.[1];
  const text = url === undefined ? '' : await (await fetch(new URL('/metrics', url))).text();
  const said = /^crossfade_slot_retained_bytes (\S+)$/m.exec(text)?.[1];
  return said === undefined ? undefined : Number(said);
}
