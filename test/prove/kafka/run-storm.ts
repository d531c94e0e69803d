/**
 * Rebalances without end: transformers and sinks join and leave every few seconds under load, in good order and by SIGKILL. Guarantee: it
 * returns only when source and target hold the same rows at the end.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Random, seeded } from '#test/support/random.ts';
import { type LedgerFigures, readLedger } from '../kill/ledger.ts';
import { startLoad } from '../kill/load.ts';
import { fileBody, sourceSql, targetSql } from '../kill/tables.ts';
import { Fleet, type Member, nameOf } from './fleet.ts';
import { openKafkaStage } from './kafka-stage.ts';
import { allFrom, compare, untilArrived, untilConsistent } from './settled.ts';

export interface StormOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly rows: number;
  readonly say: (text: string) => void;
}

export interface StormReport {
  readonly joined: number;
  readonly left: number;
  readonly killed: number;
  readonly rowsCompared: number;
  readonly ledger: LedgerFigures;
}

const WRITERS = 3;
const COUNTS = { reader: 1, transformer: 3, sink: 2 } as const;
const KILL_SHARE = 0.4;

export async function runStorm(options: StormOptions): Promise<StormReport> {
  const random = seeded(options.seed);
  await using stage = await openKafkaStage({
    name: 'storm',
    file: fileBody('fast'),
    sourceSql: sourceSql(options.rows),
    targetSql: targetSql(),
  });
  await using load = await startLoad(stage, WRITERS, () => random.next() * 2 - 1);
  await using fleet = new Fleet({ file: stage.pipeline.file, directory: stage.directory, counts: COUNTS });
  fleet.startAll();
  const strictFrom = await untilConsistent(stage, fleet);
  const storm = await blow(fleet, random, options);
  const last = await load.stop();
  await untilArrived(stage, fleet, last);
  const rowsCompared = await compare(stage);
  return { ...storm, rowsCompared, ledger: await readLedger(stage.targetUrl, allFrom(strictFrom)) };
}

/** One of each kind always stays; the others come and go. */
async function blow(
  fleet: Fleet,
  random: Random,
  { seconds, say }: StormOptions,
): Promise<{ readonly joined: number; readonly left: number; readonly killed: number }> {
  const counts = { joined: 0, left: 0, killed: 0 };
  const away = new Map<string, Member>();
  const restless = fleet.members.filter(({ service, number }) => service !== 'reader' && number > 0);
  const until = Date.now() + seconds * 1000;
  while (Date.now() < until) {
    await delay(random.between(500, 4_000));
    fleet.check();
    const member = restless[random.between(0, restless.length - 1)]!;
    const name = nameOf(member);
    if (away.delete(name)) {
      fleet.start(member);
      counts.joined++;
      say(`${name} joins`);
    } else if (random.chance(KILL_SHARE)) {
      await fleet.kill(member);
      counts.killed++;
      say(`${name} killed, and back`);
    } else {
      away.set(name, member);
      await fleet.stop(member);
      counts.left++;
      say(`${name} leaves`);
    }
  }
  return counts;
}
