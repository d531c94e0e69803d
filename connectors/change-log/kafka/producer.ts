/**
 * Produces record batches. Guarantee: batches of one partition are stored in the order of calls, none without the ones before it; a call
 * resolves, in the order of calls, when all its batches are acknowledged by all in-sync replicas; when one fails, every call begun after
 * it and before its caller could hear of that fails too. Nothing is sent twice: what failed may be stored or not, but never behind
 * something produced to that partition later.
 *
 * The order rests on Kafka's own fencing (an idempotent producer's id, epoch and sequence numbers): after a failure the epoch is raised,
 * and a request of before that is still on its way through a broker is refused once the partition has seen the new epoch.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { invariant, messageOf, PipelineError } from '#schemas/errors.ts';
import type { ProduceBatch, Produced, TopicPartition } from './cluster.ts';
import { REQUEST_TIMEOUT_MS, type KafkaClient, type KafkaLog } from './client.ts';
import { Connections, type Sent } from './connection.ts';
import { codeError, isAnswered, isUnknownTopic, kafkaError } from './kafka-error.ts';
import { stamped } from './record-batch.ts';
import { nameOf } from './place-name.ts';
import { identityRequest, produceRequest, type PartitionProduced } from './requests.ts';

/** A partition may be without leader for a moment. Nothing was sent yet, so waiting repeats nothing. */
const LEADER_TRIES = 40;
const LEADER_PAUSE_MS = 250;

/** Of one request, unless a single batch is larger. */
const REQUEST_BYTES = 16 * 1024 * 1024;

type Requests = readonly Sent<readonly PartitionProduced[]>[];

/** Calls that stand or fall together: those begun before the caller of a failed one could know. */
class Generation {
  readonly epoch: number;
  failure: PipelineError | undefined;
  /** A call could not be written whole: none behind it is written. Known before its failure can be told, which waits for its turn. */
  isBroken = false;
  /** Next sequence number by partition. */
  readonly #sequences = new Map<string, number>();

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  take(place: TopicPartition, count: number): number {
    const sequence = this.#sequences.get(nameOf(place)) ?? 0;
    this.#sequences.set(nameOf(place), (sequence + count) % SEQUENCES);
    return sequence;
  }
}

/** Sequence numbers go on with 0 behind 2^31 − 1. */
const SEQUENCES = 2 ** 31;
/** Epochs are 16 bits wide: then a new identity is asked for. */
const EPOCH_MAX = 32_000;
/** A broker that has just started has none to give for a moment. */
const IDENTITY_TRIES = 40;
const IDENTITY_LATER = new Set([7, 14, 15, 51]);

export class Producer {
  readonly #connections: Connections;
  readonly #logger: KafkaLog;
  #generation = new Generation(0);
  /** Null: the broker gives us none, so the order after a failure is not fenced. */
  #producerId: bigint | null | undefined;
  /** Calls are written one after another, and answered side by side. */
  #writing: Promise<unknown> = Promise.resolve();
  /** Settles with the last call begun. */
  #settled: Promise<unknown> = Promise.resolve();
  #stale = false;

  constructor(client: KafkaClient, logger: KafkaLog) {
    this.#logger = logger;
    this.#connections = new Connections(client, REQUEST_TIMEOUT_MS);
  }

  produce(batches: readonly ProduceBatch[]): Promise<readonly Produced[]> {
    const generation = this.#generation;
    if (generation.failure !== undefined) return Promise.reject(behind(generation.failure));
    const written = this.#writing.then(() => this.#write(batches, generation));
    this.#writing = written.catch(() => undefined);
    const settled = this.#settle(outcomeOf(batches, written), this.#settled, generation);
    this.#settled = settled.catch(() => undefined);
    return settled;
  }

  close(): void {
    this.#connections.close();
  }

  async #settle(
    ending: Promise<readonly Produced[] | PipelineError>,
    before: Promise<unknown>,
    generation: Generation,
  ): Promise<readonly Produced[]> {
    const outcome = await ending;
    await before;
    if (generation.failure !== undefined) throw behind(generation.failure);
    if (!(outcome instanceof PipelineError)) return outcome;
    generation.failure = outcome;
    // An answer leaves the connection in order; without one, what it still holds must not be written any more.
    if (isAnswered(outcome)) this.#stale = true;
    else this.#connections.drop('an earlier request failed');
    const all = this.#settled;
    setImmediate(() => {
      this.#generation = this.#next(generation);
      this.#writing = all; // so that nothing new overtakes what is still under way
    });
    throw outcome;
  }

  #next({ epoch }: Generation): Generation {
    if (epoch < EPOCH_MAX) return new Generation(epoch + 1);
    this.#producerId = undefined;
    return new Generation(0);
  }

  async #write(batches: readonly ProduceBatch[], generation: Generation): Promise<Requests> {
    const sent: Sent<readonly PartitionProduced[]>[] = [];
    try {
      for (const wave of waves(batches)) {
        for (const [leader, group] of await this.#requests(wave)) {
          this.#producerId ??= await this.#identity(leader);
          if (generation.isBroken || generation.failure !== undefined) throw new PipelineError('CF-3001', 'an earlier produce failed');
          const request = await this.#connections.send(leader, produceRequest(group.map((batch) => this.#stamp(batch, generation))));
          await request.written;
          sent.push(request);
        }
      }
      return sent;
    } catch (error) {
      generation.isBroken = true;
      throw error;
    }
  }

  async #requests(batches: readonly ProduceBatch[]): Promise<readonly (readonly [number, readonly ProduceBatch[]])[]> {
    return [...(await this.#byLeader(batches))].flatMap(([leader, all]) => bounded(all).map((group) => [leader, group] as const));
  }

  #stamp(batch: ProduceBatch, generation: Generation): ProduceBatch {
    const producerId = this.#producerId;
    if (producerId === undefined || producerId === null) return batch;
    const { topic, partition, records } = batch;
    const sequence = generation.take(batch, records.count);
    return { topic, partition, records: stamped(records, { producerId, epoch: generation.epoch, sequence }) };
  }

  async #identity(leader: number): Promise<bigint | null> {
    for (let tries = 1; ; tries += 1) {
      const { answer } = await this.#connections.send(leader, identityRequest());
      const { errorCode, producerId, epoch } = await answer;
      if (errorCode === 0) {
        invariant(epoch === 0, 'a new producer identity begins with epoch 0');
        return producerId;
      }
      const failure = codeError(errorCode, 'asking for a producer identity');
      if (failure.code === 'CF-3006') {
        this.#logger.warn(
          { cause: failure.message },
          'kafka: no right to IdempotentWrite on the cluster: a failed write may still arrive late',
        );
        return null;
      }
      if (!IDENTITY_LATER.has(errorCode) || tries === IDENTITY_TRIES) throw failure;
      await pause(LEADER_PAUSE_MS);
    }
  }

  async #byLeader(batches: readonly ProduceBatch[]): Promise<ReadonlyMap<number, readonly ProduceBatch[]>> {
    for (let tries = 1; ; tries += 1) {
      const lacking = await this.#lacking(batches);
      if (lacking === undefined) break;
      if (tries === LEADER_TRIES) throw lacking;
      await pause(LEADER_PAUSE_MS);
      this.#stale = true;
    }
    return Map.groupBy(batches, ({ topic, partition }) => this.#connections.leader(topic, partition) ?? -1);
  }

  /** Why not all of them can be sent yet. */
  async #lacking(batches: readonly ProduceBatch[]): Promise<PipelineError | undefined> {
    try {
      await this.#connections.know([...new Set(batches.map((batch) => batch.topic))]);
      if (this.#stale) await this.#connections.refresh();
      this.#stale = false;
    } catch (error) {
      if (!isUnknownTopic(error)) throw error;
      return new PipelineError('CF-3006', messageOf(error), {
        cause: error,
        remedy: 'Create the topic, or start again: it is made at the start.',
      });
    }
    const without = batches.find(({ topic, partition }) => this.#connections.leader(topic, partition) === undefined);
    return without && new PipelineError('CF-3001', `Kafka: ${nameOf(without)} has no leader`, { remedy: NO_LEADER });
  }
}

const NO_LEADER = 'Start the brokers that hold its replicas; it goes on by itself.';

/** What was produced, in the order of `batches`, or what failed. */
async function outcomeOf(batches: readonly ProduceBatch[], written: Promise<Requests>): Promise<readonly Produced[] | PipelineError> {
  try {
    const answers = await Promise.all((await written).map((request) => request.answer));
    // A broker answers in an order of its own; of one partition there is one batch a request, and requests are in order.
    const produced = Map.groupBy(answers.flat().map(checked), nameOf);
    return batches.map((batch) => {
      const first = produced.get(nameOf(batch))?.shift();
      if (first === undefined)
        throw new PipelineError('CF-3001', `Kafka: the answer to a produce request says nothing of ${nameOf(batch)}`);
      return first;
    });
  } catch (error) {
    return kafkaError(error, 'a produce request');
  }
}

/** Kafka takes one batch a partition and request: the first of each partition, then the second, … */
function waves(batches: readonly ProduceBatch[]): readonly (readonly ProduceBatch[])[] {
  const all: ProduceBatch[][] = [];
  const seen = new Map<string, number>();
  for (const batch of batches) {
    const place = nameOf(batch);
    const wave = seen.get(place) ?? 0;
    seen.set(place, wave + 1);
    (all[wave] ??= []).push(batch);
  }
  return all;
}

/** In order, so that no request grows beyond what a broker reads (socket.request.max.bytes, 100 MiB by default). */
function bounded(batches: readonly ProduceBatch[]): readonly (readonly ProduceBatch[])[] {
  const groups: ProduceBatch[][] = [];
  let bytes = REQUEST_BYTES;
  for (const batch of batches) {
    if (bytes + batch.records.bytes > REQUEST_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(batch);
    bytes += batch.records.bytes;
  }
  return groups;
}

function checked({ topic, partition, errorCode, baseOffset }: PartitionProduced): Produced {
  if (errorCode !== 0) throw codeError(errorCode, `produce to ${nameOf({ topic, partition })}`);
  return { topic, partition, baseOffset };
}

function behind(failure: PipelineError): PipelineError {
  return new PipelineError('CF-3001', `refused, as a produce before it failed: ${failure.message}`, {
    cause: failure,
    remedy: failure.remedy,
  });
}
