/**
 * The kill test over Kafka: reader, two transformers, two sinks and the broker are killed and stunned at random under load. Guarantee: it
 * returns only when source and target hold the same rows at the end (by the test's own SQL); the ledger's findings are returned.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka } from '#test/support/kafka/kafka.ts';
import { type Random, seeded } from '#test/support/random.ts';
import { type LedgerFigures, readLedger } from '../kill/ledger.ts';
import { startLoad } from '../kill/load.ts';
import { fileBody, sourceSql, targetSql } from '../kill/tables.ts';
import { Fleet, type Member, nameOf, SERVICES, type ServiceName } from './fleet.ts';
import { type KafkaStage, openKafkaStage } from './kafka-stage.ts';
import { allFrom, compare, untilArrived, untilConsistent } from './settled.ts';

export interface ServiceKillOptions {
  /** While the copy is under way; half as many come after it, unless told. */
  readonly strikes: number;
  readonly following?: number;
  /** Who is killed, and is one then, so that every kill hits who acts; everybody is struck, and the broker now and then, unless told. */
  readonly only?: ServiceName;
  /** For example CROSSFADE_TEST_DISABLE, to see the test go red. */
  readonly env?: Readonly<Record<string, string>>;
  /** False: leave the rows uncompared (a run that is meant to be red). */
  readonly compare?: boolean;
  readonly seed: number;
  readonly rows: number;
  readonly say: (text: string) => void;
}

export interface ServiceKillReport {
  readonly killed: Readonly<Record<ServiceName | 'broker', number>>;
  readonly stunned: Readonly<Record<ServiceName | 'broker', number>>;
  readonly rowsCompared: number;
  readonly ledger: LedgerFigures;
}

const COUNTS: Readonly<Record<ServiceName, number>> = { reader: 1, transformer: 2, sink: 2 };
const WRITERS = 3;
/** Longer than the sink's lease: somebody else has taken over when the zombie wakes up. */
const STUN_MS_MAX = 9_000;
const BROKER_SHARE = 0.06;
const STUN_SHARE = 0.2;

function countsOf(only: ServiceName | undefined): Readonly<Record<ServiceName, number>> {
  return only === undefined ? COUNTS : { ...COUNTS, [only]: 1 };
}

export async function runServiceKills(options: ServiceKillOptions): Promise<ServiceKillReport> {
  const random = seeded(options.seed);
  await using stage = await openKafkaStage({
    name: 'fleetkill',
    file: fileBody('fast'),
    sourceSql: sourceSql(options.rows),
    targetSql: targetSql(),
  });
  await using load = await startLoad(stage, WRITERS, () => random.next() * 2 - 1);
  await using fleet = new Fleet({
    file: stage.pipeline.file,
    directory: stage.directory,
    counts: countsOf(options.only),
    env: options.env ?? {},
  });
  fleet.startAll();
  const run = new StrikeRun({ stage, fleet, only: options.only }, random);
  for (let strike = 1; strike <= options.strikes; strike++) options.say(`#${strike} ${await run.strike()}`);
  const strictFrom = await untilConsistent(stage, fleet);
  const following = options.following ?? Math.ceil(options.strikes / 2);
  for (let strike = 1; strike <= following; strike++) options.say(`following #${strike} ${await run.strike()}`);
  const last = await load.stop();
  await untilArrived(stage, fleet, last);
  const rowsCompared = options.compare === false ? 0 : await compare(stage);
  const ledger = await readLedger(stage.targetUrl, allFrom(strictFrom));
  return { killed: run.killed, stunned: run.stunned, rowsCompared, ledger };
}

class StrikeRun {
  readonly #stage: KafkaStage;
  readonly #fleet: Fleet;
  readonly #only: ServiceName | undefined;
  readonly #random: Random;
  readonly killed: Record<ServiceName | 'broker', number> = { reader: 0, transformer: 0, sink: 0, broker: 0 };
  readonly stunned: Record<ServiceName | 'broker', number> = { reader: 0, transformer: 0, sink: 0, broker: 0 };

  constructor(at: { readonly stage: KafkaStage; readonly fleet: Fleet; readonly only: ServiceName | undefined }, random: Random) {
    this.#stage = at.stage;
    this.#fleet = at.fleet;
    this.#only = at.only;
    this.#random = random;
  }

  async strike(): Promise<string> {
    await delay(this.#random.between(100, 2_500));
    this.#fleet.check();
    const stuns = this.#only === undefined && this.#random.chance(STUN_SHARE);
    if (this.#only === undefined && this.#random.chance(BROKER_SHARE)) return this.#strikeBroker(this.#stage.kafka, stuns);
    const service = this.#only ?? SERVICES[this.#random.between(0, SERVICES.length - 1)]!;
    const member: Member = { service, number: this.#random.between(0, countsOf(this.#only)[service] - 1) };
    if (stuns) {
      this.stunned[service]++;
      const forMs = this.#random.between(500, STUN_MS_MAX);
      await this.#fleet.stun(member, forMs);
      return `${nameOf(member)} stopped for ${forMs} ms, and woken`;
    }
    this.killed[service]++;
    await this.#fleet.kill(member);
    return `${nameOf(member)} killed`;
  }

  async #strikeBroker(kafka: Kafka, stuns: boolean): Promise<string> {
    if (stuns) {
      this.stunned.broker++;
      const forMs = this.#random.between(500, 4_000);
      await kafka.pause();
      await delay(forMs);
      await kafka.resume();
      return `broker stopped for ${forMs} ms, and woken`;
    }
    this.killed.broker++;
    await kafka.kill();
    await kafka.start();
    return 'broker killed and started again';
  }
}
