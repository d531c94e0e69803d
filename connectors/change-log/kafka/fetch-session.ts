/**
 * Reads partitions side by side. Guarantee: of each partition everything from its offset on is handed out, in order, once, unless it is
 * sought again; trouble with connections and leaders is waited out; a paused or dropped partition brings nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Offset } from '../change-log.ts';
import type { TopicPartition } from './cluster.ts';
import { REQUEST_TIMEOUT_MS, type KafkaClient, type KafkaLog } from './client.ts';
import { Connections } from './connection.ts';
import { codeError, isAnswered, isUnknownTopic, KAFKA, kafkaError } from './kafka-error.ts';
import { nameOf } from './place-name.ts';
import { fetchRequest, type FetchAnswer, type PartitionFetched } from './requests.ts';

/** An answer is held several times over: as it came, in one piece, in its partitions' shares, and the next one is on its way. */
const LIMITS = { partitionBytes: 256 * 1024, answerBytes: 1024 * 1024 };
const WAIT_MS = 500;
/** While partitions are paused one of them may be resumed at any moment, and a request under way holds the connection. */
const WAIT_BESIDE_PAUSED_MS = 25;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_LAST_MS = 1_000;
/** A topic made a moment ago is not known to every broker; one unknown for longer was removed. */
const UNKNOWN_TOPIC_MS = 30_000;

/** What an implementation of `read` makes of stored batches. */
export interface Read<T> {
  readonly value: T;
  readonly next: Offset;
}

export interface Got<T> extends TopicPartition, Read<T> {}

export interface FetchOptions<T> {
  readonly client: KafkaClient;
  readonly logger: KafkaLog;
  read(bytes: Buffer, from: Offset, place: TopicPartition): Read<T>;
  /** First offset kept and first not yet visible, as the leader tells with each answer. */
  onBounds?(place: TopicPartition, start: Offset, end: Offset): void;
  /** The error of an offset that the broker does not hold. */
  outside(place: TopicPartition, offset: Offset): Promise<PipelineError>;
}

interface State<T> {
  readonly place: TopicPartition;
  offset: Offset;
  paused: boolean;
  /** Came while it was paused. */
  held?: Got<T>;
}

export class FetchSession<T> {
  readonly #options: FetchOptions<T>;
  readonly #connections: Connections;
  /** In the order in which they are asked for: who brought something goes to the end, so nobody starves. */
  readonly #states = new Map<string, State<T>>();
  /** Requests under way, by leader. */
  readonly #polls = new Map<number, Promise<void>>();
  #beginning: Promise<void> | undefined;
  #ready: Got<T>[] = [];
  #failure: PipelineError | undefined;
  /** Partitions that do not hold what was asked of them: not read any more until sought. */
  readonly #outside: PipelineError[] = [];
  #changed = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  #stale = false;
  #failures = 0;
  #unknownSinceMs: number | undefined;

  constructor(options: FetchOptions<T>) {
    this.#options = options;
    this.#connections = new Connections(options.client, REQUEST_TIMEOUT_MS);
  }

  seek(place: TopicPartition, offset: Offset): void {
    const { topic, partition } = place;
    // A new object: an answer on its way to the old one is not taken any more.
    const paused = this.#states.get(nameOf(place))?.paused ?? false;
    this.drop(place);
    this.#states.set(nameOf(place), { place: { topic, partition }, offset, paused });
    this.#wake();
  }

  drop(place: TopicPartition): void {
    this.#states.delete(nameOf(place));
    this.#ready = this.#ready.filter((got) => got.topic !== place.topic || got.partition !== place.partition);
  }

  pause(place: TopicPartition): void {
    const state = this.#states.get(nameOf(place));
    if (state === undefined) return;
    state.paused = true;
    const held = this.#ready.find((got) => got.topic === place.topic && got.partition === place.partition);
    if (held === undefined) return;
    state.held = held;
    this.#ready = this.#ready.filter((got) => got !== held);
  }

  resume(place: TopicPartition): void {
    const state = this.#states.get(nameOf(place));
    if (state === undefined || !state.paused) return;
    state.paused = false;
    if (state.held !== undefined) this.#ready.push(state.held);
    delete state.held;
    this.#wake();
  }

  /** Undefined once `signal` fired or it was closed. What is under way then is handed out by the next call. */
  async next(signal: AbortSignal): Promise<readonly Got<T>[] | undefined> {
    const ended = abortOf(AbortSignal.any([signal, this.#closing.signal]));
    try {
      while (!signal.aborted && !this.#closing.signal.aborted) {
        const outside = this.#outside.shift();
        if (outside !== undefined) throw outside;
        if (this.#failure !== undefined) throw this.#failed();
        if (this.#ready.length > 0) {
          const got = this.#take();
          void this.#begin(); // the next answer travels while this one is worked on
          return got;
        }
        await Promise.race([ended.promise, this.#begin()]);
        if (this.#ready.length > 0 || this.#failure !== undefined || this.#outside.length > 0) continue;
        // Asked for and not under way: there was trouble, and the pause for it is over.
        if (this.#polls.size === 0 && this.#wanted().length > 0) continue;
        await Promise.race([ended.promise, this.#changed.promise, ...this.#polls.values()]);
      }
      return undefined;
    } finally {
      ended.release();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#connections.close();
    await Promise.allSettled(this.#polls.values());
  }

  #failed(): PipelineError {
    const failure = this.#failure;
    this.#failure = undefined;
    return failure ?? new PipelineError('CF-3001', 'Kafka: a fetch failed');
  }

  #take(): readonly Got<T>[] {
    const got = this.#ready;
    this.#ready = [];
    return got;
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Starts a request to each leader that has none under way and has something to ask for. */
  #begin(): Promise<void> {
    this.#beginning ??= this.#beginAll().finally(() => {
      this.#beginning = undefined;
    });
    return this.#beginning;
  }

  async #beginAll(): Promise<void> {
    const wanted = this.#wanted();
    if (wanted.length === 0) return;
    try {
      await this.#locate(wanted);
      const groups = Map.groupBy(wanted, ({ place }) => this.#connections.leader(place.topic, place.partition));
      for (const [leader, states] of groups) {
        if (leader === undefined) this.#stale = true;
        else if (!this.#polls.has(leader)) this.#poll(leader, states);
      }
      if (groups.has(undefined)) await this.#backOff('a partition has no leader');
    } catch (error) {
      await this.#trouble(error, (why) => this.#connections.drop(why));
    }
  }

  #wanted(): State<T>[] {
    return [...this.#states.values()].filter((state) => !state.paused && state.held === undefined);
  }

  async #locate(states: readonly State<T>[]): Promise<void> {
    await this.#connections.know([...new Set(states.map(({ place }) => place.topic))]);
    if (!this.#stale) return;
    await this.#connections.refresh();
    this.#stale = false;
  }

  #poll(leader: number, states: readonly State<T>[]): void {
    const waitMs = [...this.#states.values()].some((state) => state.paused) ? WAIT_BESIDE_PAUSED_MS : WAIT_MS;
    const places = states.map((state) => ({ ...state.place, offset: state.offset }));
    const asked = new Map(states.map((state) => [nameOf(state.place), state]));
    const run = async (): Promise<void> => {
      try {
        const { answer } = await this.#connections.send(leader, fetchRequest(places, { ...LIMITS, waitMs }));
        await this.#receive(await answer, asked);
      } catch (error) {
        await this.#trouble(error, (why) => this.#connections.reset(leader, why));
      } finally {
        this.#polls.delete(leader);
      }
    };
    this.#polls.set(leader, run());
  }

  async #receive(answer: FetchAnswer, asked: ReadonlyMap<string, State<T>>): Promise<void> {
    if (answer.errorCode !== KAFKA.none) throw codeError(answer.errorCode, 'fetch');
    let refused: PartitionFetched | undefined;
    for (const part of answer.partitions) {
      const state = asked.get(nameOf(part));
      // Sought or dropped meanwhile.
      if (state === undefined || this.#states.get(nameOf(part)) !== state) continue;
      if (part.errorCode === KAFKA.none) this.#store(state, part, answer.partitions.length);
      else if (part.errorCode === KAFKA.offsetOutOfRange) {
        this.#states.delete(nameOf(part));
        // Each is told: who goes on behind one must hear of the others too.
        this.#outside.push(await this.#options.outside(state.place, state.offset));
      } else refused = part;
    }
    if (refused !== undefined) throw codeError(refused.errorCode, `fetch from ${nameOf(refused)}`);
    if (this.#failures > 1) this.#options.logger.info({ failures: this.#failures }, 'kafka: reading goes on');
    this.#failures = 0;
    this.#unknownSinceMs = undefined;
  }

  #store(state: State<T>, part: PartitionFetched, sharers: number): void {
    const { place } = state;
    this.#options.onBounds?.(place, part.logStart, part.highWatermark);
    if (part.records.length === 0) return;
    // Of a shared answer each takes its own bytes: a slow partition does not keep those of all.
    const bytes = sharers > 1 ? Buffer.concat([part.records]) : part.records;
    const { value, next } = this.#options.read(bytes, state.offset, place);
    if (next === state.offset) return;
    state.offset = next;
    const got = { ...place, value, next };
    if (state.paused) state.held = got;
    else this.#ready.push(got);
    this.#states.delete(nameOf(place));
    this.#states.set(nameOf(place), state);
  }

  async #trouble(error: unknown, reset: (why: string) => void): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const failure = kafkaError(error, 'fetch');
    const unknown = isUnknownTopic(failure);
    if (unknown) this.#unknownSinceMs ??= Date.now();
    const gone = unknown && Date.now() - (this.#unknownSinceMs ?? 0) > UNKNOWN_TOPIC_MS;
    if (failure.code !== 'CF-3001' || gone) {
      this.#failure ??= gone ? new PipelineError('CF-3006', `${failure.message}: the topic was removed`, { cause: failure }) : failure;
      return;
    }
    // An answer leaves the connections in order. Without one they are made anew: reading again is harmless.
    this.#stale = true;
    if (!isAnswered(failure)) reset(failure.message);
    await this.#backOff(messageOf(failure));
  }

  async #backOff(why: string): Promise<void> {
    const waitMs = Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    const say = this.#failures === 1 ? 'debug' : 'warn';
    this.#options.logger[say]({ failures: this.#failures, waitMs }, `kafka: reading waits: ${why}`);
    await pause(waitMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }
}

/** A promise for a signal, and its release: a listener a call would pile up on a signal that lives as long as the process. */
function abortOf(signal: AbortSignal): { readonly promise: Promise<void>; release(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const fire = (): void => resolve();
  if (signal.aborted) fire();
  else signal.addEventListener('abort', fire, { once: true });
  return { promise, release: () => signal.removeEventListener('abort', fire) };
}
