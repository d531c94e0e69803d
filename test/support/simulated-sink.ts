/**
 * A sink over Kafka in memory that keeps bookmarks, has topics cut, changes its file, dies, and is restored to an older state. Guarantee:
 * what it reads by our file is compared frame by frame with what the order has ever named, cut or not; `fault` is the first difference,
 * or a refusal that nothing justifies.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { parsePlace } from '#connectors/change-log/kafka/order/bookmark.ts';
import { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import { MAPPING, type LoggedFrame } from '#test/support/gather-world.ts';
import type { MemoryKafka } from '#test/support/memory-cluster.ts';
import type { Random } from '#test/support/random.ts';
import { SeenFrames } from '#test/support/seen-frames.ts';

/** Longer than any turn of a busy machine. */
const STALL_MS = 30_000;
const PATIENCE_MS = 20;
/** At the end transformers are let finish. */
const LAST_PATIENCE_MS = 1_500;

export interface SimulatedSinkOptions {
  readonly kafka: MemoryKafka;
  readonly random: Random;
  readonly format: () => WireFormat;
  readonly partitions: number;
  readonly retainBytes: number;
  /** All frames that count, from the first on. */
  readonly log: () => readonly LoggedFrame[];
}

export class SimulatedSink {
  readonly #options: SimulatedSinkOptions;
  #mapping: CompiledMapping = MAPPING;
  /** Written to the target, ascending; the last is what the next session finds. */
  #marks: Bookmark[] = [];
  /** Highest offset of a bookmark ever written. */
  #released: Bookmark | undefined;
  /** First record that the target lacks. */
  #applied = 0;
  fault: string | undefined;

  constructor(options: SimulatedSinkOptions) {
    this.#options = options;
  }

  use(mapping: CompiledMapping): void {
    this.#mapping = mapping;
  }

  /** Some batches of one session. */
  async play(): Promise<void> {
    const { random } = this.#options;
    if (random.chance(0.08)) this.#restore();
    const cluster = this.#options.kafka.client();
    try {
      await this.#session(cluster, random.between(1, 30));
    } catch (error) {
      this.#refused(error);
    }
    if (random.chance(0.3)) cluster.crash();
  }

  /** The target is an older one, with the bookmark that it had. */
  #restore(): void {
    if (this.#marks.length < 2) return;
    const to = this.#options.random.between(0, this.#marks.length - 1);
    const place = parsePlace(this.#marks[to]!.place)!;
    const released = this.#released && parsePlace(this.#released.place)!;
    // Older than what is promised: whoever restores that has to start anew.
    if (released !== undefined && place.bytes! < released.bytes! - this.#options.retainBytes) return;
    // What is kept for an older state than this one is not promised any more, nor is it again.
    this.#marks = [this.#marks[to]!];
    this.#released = this.#saved;
    this.#applied = this.#saved!.offset;
  }

  #refused(error: unknown): void {
    const code = error instanceof PipelineError ? error.code : undefined;
    if (code === 'CF-3006' || code === 'CF-3001') return;
    // Of a file that changed, what its transformers mapped in the meantime may have gone.
    if (code !== 'CF-3003' || !this.#isChanged)
      this.fault ??= error instanceof Error ? `${error.message}\n${error.stack}` : messageOf(error);
  }

  /** The bookmark is another file's. */
  get #isChanged(): boolean {
    const place = this.#saved && parsePlace(this.#saved.place)!;
    return place !== undefined && this.#mapping.tables.some((table) => !place.mappings.includes(tableTag(table)));
  }

  get #saved(): Bookmark | undefined {
    return this.#marks.at(-1);
  }

  async #session(cluster: ReturnType<MemoryKafka['client']>, batches: number): Promise<void> {
    const { random } = this.#options;
    const topic = await this.#open(cluster);
    const from = random.between(Math.max(topic.start(0), this.#saved?.offset ?? 0), Math.min(this.#applied, topic.end(0)));
    const cursor = topic.read(0, from);
    const log = [...this.#options.log()];
    const check = new SeenFrames(log, from);
    try {
      for (let left = batches; left > 0 && this.fault === undefined; left--) {
        const batch = await cursor.next(turns(random.between(1, 30)));
        if (batch === undefined) continue;
        log.push(...this.#options.log().slice(log.length));
        if (this.#mapping === MAPPING) this.fault ??= check.take(batch);
        if (random.chance(0.4)) await this.#mark(topic, check.next);
      }
      if (this.#mapping === MAPPING) this.#applied = Math.max(this.#applied, check.next);
    } finally {
      await cursor.close();
    }
  }

  async #open(cluster: ReturnType<MemoryKafka['client']>, patienceMs = PATIENCE_MS): Promise<GatherTopic> {
    const { random, format, partitions, retainBytes } = this.#options;
    const topic = new GatherTopic({
      cluster,
      name: MAPPING.name,
      format: format(),
      mapping: this.#mapping,
      partitions,
      retainBytes,
      patienceMs,
      ...(random.chance(0.5) && { rowsBytesMax: random.between(500, 8_000) }),
    });
    await topic.prepare(this.#saved);
    return topic;
  }

  /** Written, when it lies below what is applied, and as the target does: never back. Then what lies below may go. */
  async #mark(topic: GatherTopic, next: number): Promise<void> {
    const mark = topic.bookmark();
    if (mark === undefined) return;
    const isOurs = this.#mapping === MAPPING;
    const isWritten = mark.offset > (this.#saved?.offset ?? -1) && (!isOurs || mark.offset <= next);
    if (!isWritten) return;
    this.#marks.push(mark);
    this.#applied = Math.max(this.#applied, mark.offset);
    this.#released = mark;
    const released = topic.release(mark).catch((error: unknown) => (this.fault ??= messageOf(error)));
    if (this.#options.random.chance(0.7)) await released;
  }

  /** Until all that the log holds is read by the present file. @returns false when that is refused. */
  async catchUp(): Promise<boolean> {
    const cluster = this.#options.kafka.client();
    const topic = await this.#open(cluster, LAST_PATIENCE_MS);
    const from = Math.max(this.#saved?.offset ?? 0, topic.start(0));
    const cursor = topic.read(0, from);
    const check = new SeenFrames(this.#options.log(), from);
    const stalled = AbortSignal.timeout(STALL_MS);
    try {
      while (this.#mapping === MAPPING ? !check.isAtEnd : (topic.bookmark()?.offset ?? 0) < topic.end(0)) {
        const batch = await cursor.next(this.#mapping === MAPPING ? stalled : turns(20));
        if (stalled.aborted) this.fault ??= `stalled: ${check.tell()}`;
        const wrong = this.#mapping === MAPPING && batch !== undefined ? check.take(batch) : undefined;
        this.fault ??= wrong;
        if (this.fault !== undefined) return false;
      }
      await this.#mark(topic, check.next);
      return true;
    } catch (error) {
      if (error instanceof PipelineError && error.code === 'CF-3003' && this.#isChanged) return false;
      throw error;
    } finally {
      await cursor.close();
    }
  }
}

/** Fires after so many turns of the event loop. */
function turns(count: number): AbortSignal {
  const controller = new AbortController();
  const wait = async (): Promise<void> => {
    for (let left = count; left > 0; left--) await turn();
    controller.abort();
  };
  void wait();
  return controller.signal;
}
