/**
 * One seed's history of readers and transformers, and a sink that reads it. Guarantee: `run` says what the sink saw that it should not
 * have seen, or undefined; the same seed gives the same answer.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Bookmark } from '#schemas/bookmark.ts';
import { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { SchemaRegistry } from '#schemas/wire/wire.ts';
import { History, type PlannedFrame } from '#test/support/gather-history.ts';
import { GatherWorld, MAPPING, OTHER_MAPPING, type SimulatedReader, type SimulatedTransformer } from '#test/support/gather-world.ts';
import type { Random } from '#test/support/random.ts';
import { SeenFrames } from '#test/support/seen-frames.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';

const STEPS_MAX = 160;
/** Without a batch for so long nothing will come any more, on a busy machine too. */
const STALL_MS = 10_000;

interface Session {
  readonly reader: SimulatedReader;
  readonly history: History;
  pending: PlannedFrame[];
}

export class GatherSimulation {
  readonly #random: Random;
  readonly #registry: SchemaRegistry = memoryRegistry();
  readonly #world: GatherWorld;
  readonly #marks: Bookmark[] = [];
  readonly #zombies: Session[] = [];
  readonly #transformers: SimulatedTransformer[] = [];
  readonly #stop = new AbortController();
  #stalled: NodeJS.Timeout | undefined;
  #active!: Session;

  constructor(random: Random) {
    this.#random = random;
    this.#world = new GatherWorld(random, avroFormat(this.#registry, { name: 'm' }));
  }

  async run(): Promise<string | undefined> {
    await this.#world.open();
    this.#active = this.#takeOver();
    for (let partition = 0; partition < this.#world.partitions; partition++) {
      this.#transformers.push(this.#world.transformer(partition));
      if (this.#random.chance(0.3)) this.#transformers.push(this.#world.transformer(partition, true));
    }
    // Of a short history much is on its way all the time.
    const steps = this.#random.between(10, this.#random.chance(0.5) ? 40 : STEPS_MAX);
    const startAt = this.#random.chance(0.5) ? steps : this.#random.between(0, steps);
    let reading: Promise<string | undefined> | undefined;
    for (let step = 0; step < steps; step++) {
      if (step === startAt) reading = this.#read(undefined, 0);
      await this.#step();
      if (reading !== undefined) await this.#wake();
    }
    await this.#finish();
    reading ??= this.#read(undefined, 0);
    await this.#wake();
    this.#stalled = setTimeout(() => this.#stop.abort(), STALL_MS);
    try {
      return (await reading) ?? (await this.#readAgain());
    } finally {
      clearTimeout(this.#stalled);
    }
  }

  #takeOver(): Session {
    const reader = this.#world.takeOver();
    const history = new History(this.#random);
    return { reader, history, pending: history.session(reader.epoch) };
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const draw = random.between(0, 99);
    if (draw < 40) this.#append(this.#active);
    else if (draw < 43) {
      this.#zombies.push(this.#active);
      this.#active = this.#takeOver();
    } else if (draw < 46) this.#giveUp();
    else if (draw < 55 && this.#zombies.length > 0) this.#append(this.#zombies[random.between(0, this.#zombies.length - 1)]!);
    else await this.#transform(this.#transformers[random.between(0, this.#transformers.length - 1)]!, draw);
  }

  /** What was stored of the append is void; the same frames go again. */
  #giveUp(): void {
    const { reader } = this.#active;
    if (reader.append === undefined) return;
    this.#active.pending.unshift(...reader.append.frames);
    reader.append = undefined;
  }

  #append(session: Session): void {
    const { reader } = session;
    if (reader.append === undefined) {
      while (session.pending.length < 5) session.pending.push(...session.history.transaction());
      this.#world.begin(reader, session.pending.splice(0, this.#random.between(1, this.#random.chance(0.2) ? 40 : 6)));
    }
    this.#world.store(reader);
  }

  async #transform(transformer: SimulatedTransformer, draw: number): Promise<void> {
    const random = this.#random;
    if (draw < 85) await this.#world.map(transformer, random.between(0, transformer.entries.length - 1));
    else if (draw < 95) this.#world.claim(transformer);
    else if (draw < 98)
      this.#transformers.splice(this.#transformers.indexOf(transformer), 1, this.#world.transformer(transformer.partition));
    else this.#transformers.push(this.#world.transformer(transformer.partition, random.chance(0.5)));
  }

  /** Everything appended, mapped and claimed. */
  async #finish(): Promise<void> {
    const { reader } = this.#active;
    if (reader.append === undefined && this.#active.pending.length === 0) this.#active.pending.push(...this.#active.history.transaction());
    while (reader.append !== undefined || this.#active.pending.length > 0) {
      if (reader.append === undefined) this.#world.begin(reader, this.#active.pending.splice(0, 30));
      this.#world.store(reader);
    }
    for (const transformer of this.#transformers) {
      for (const entry of transformer.entries.keys()) while (await this.#world.map(transformer, entry));
      this.#world.claim(transformer);
    }
  }

  async #wake(): Promise<void> {
    const builder = new RecordsBuilder();
    builder.add(undefined, undefined);
    await this.#world.kafka.client().produce([{ topic: 'wake', partition: 0, records: builder.take() }]);
    await turn();
  }

  async #topic(bookmark: Bookmark | undefined, mapping = MAPPING): Promise<GatherTopic> {
    const random = this.#random;
    const topic = new GatherTopic({
      cluster: this.#world.kafka.client(),
      name: 'm',
      format: avroFormat(this.#registry, { name: 'm' }),
      mapping,
      partitions: this.#world.partitions,
      retainBytes: 0,
      ...(random.chance(0.6) && { rowsBytesMax: random.between(500, 8_000) }),
    });
    await topic.prepare(bookmark);
    return topic;
  }

  /**
   * A sink that begins behind `bookmark` and needs everything from record `from` on. It makes bookmarks at any moment and dies now and
   * then; what follows it begins at one of its bookmarks.
   * @returns what is wrong with what is seen.
   */
  async #read(bookmark: Bookmark | undefined, from: number): Promise<string | undefined> {
    const random = this.#random;
    const topic = await this.#topic(bookmark);
    const cursor = topic.read(0, Math.min(from, topic.end(0)));
    const check = new SeenFrames(this.#world.log, from);
    this.#stalled?.refresh();
    const marks: Bookmark[] = [];
    try {
      for (;;) {
        const atEnd = check.isAtEnd && this.#isFinished;
        const impatience = atEnd ? turns(30) : random.chance(0.5) ? turns(random.between(0, 8)) : undefined;
        const batch = await cursor.next(impatience === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, impatience]));
        if (batch === undefined && this.#stop.signal.aborted) return `stalled: ${check.tell()}`;
        if (batch === undefined && atEnd) return check.count === 0 && from === 0 ? 'nothing was seen' : undefined;
        if (batch !== undefined) this.#stalled?.refresh();
        const wrong = batch && check.take(batch);
        if (wrong !== undefined) return wrong;
        if (!random.chance(0.3)) continue;
        const mark = topic.bookmark();
        if (mark !== undefined && mark.offset <= check.next) marks.push(mark);
        if (marks.length > 0 && random.chance(0.05)) break;
      }
    } catch (error) {
      return error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
    } finally {
      await cursor.close();
      this.#marks.push(...marks);
    }
    const last = marks[random.between(0, marks.length - 1)]!;
    if (random.chance(0.3)) return this.#readOtherwise(last);
    return this.#readFrom(last, check.next);
  }

  /** Behind the bookmark, for any record from it to `to`. */
  async #readFrom(bookmark: Bookmark, to: number): Promise<string | undefined> {
    const from = this.#random.between(bookmark.offset, to);
    const wrong = await this.#read(bookmark, from);
    return wrong && `${wrong}\nfor record ${from} from bookmark ${JSON.stringify(bookmark)}`;
  }

  /** A sink of the other file has its turn, and dies. */
  async #readOtherwise(bookmark: Bookmark): Promise<string | undefined> {
    const random = this.#random;
    const topic = await this.#topic(bookmark, OTHER_MAPPING);
    const cursor = topic.read(0, bookmark.offset);
    try {
      for (let left = random.between(0, 20); left > 0; left--) await cursor.next(turns(random.between(0, 8)));
    } catch (error) {
      return `by the other file: ${String(error)}`;
    } finally {
      await cursor.close();
    }
    const next = topic.bookmark() ?? bookmark;
    return this.#readFrom(next, next.offset);
  }

  get #isFinished(): boolean {
    return this.#active.reader.append === undefined && this.#active.pending.length === 0;
  }

  async #readAgain(): Promise<string | undefined> {
    const marks = this.#marks.slice();
    for (let left = 4; left > 0 && marks.length > 0; left--) {
      const wrong = await this.#readFrom(marks[this.#random.between(0, marks.length - 1)]!, this.#world.log.length);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }
}

/** Fires after so many turns of the event loop. */
function turns(count: number): AbortSignal {
  const controller = new AbortController();
  const wait = (left: number): void => void setImmediate(() => (left === 0 ? controller.abort() : wait(left - 1)));
  wait(count);
  return controller.signal;
}
