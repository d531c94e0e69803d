/** The recorded frames as somebody sees them who is to corrupt them. Guarantee: what was not told to change comes out byte for byte. */
import type { Random } from '#test/support/random.ts';
import { SOURCE_KEYS } from './tables.ts';
import {
  type Chunk,
  chunkFrameOf,
  type Description,
  parseChunk,
  parseDescription,
  parseRow,
  type Row,
  rowFrame,
  type RowMessage,
  tagOf,
} from './wire.ts';

export interface LogEvent extends RowMessage {
  /** Index of its frame. */
  readonly at: number;
  readonly table: string;
  readonly columns: readonly string[];
  /** Of the row it leaves, or takes away. */
  readonly key: string;
  /** Of the row it began with, where that had another one. */
  readonly oldKey: string | undefined;
  readonly transaction: Transaction;
}

export interface Transaction {
  /** Frames of its Begin and its Commit. */
  readonly begin: number;
  end: number;
  readonly events: LogEvent[];
}

export interface LogChunk extends Chunk {
  readonly at: number;
  readonly table: string;
}

export class EventLog {
  readonly frames: readonly Buffer[];
  readonly random: Random;
  readonly events: LogEvent[] = [];
  readonly chunks: LogChunk[] = [];
  readonly truncates: number[] = [];
  readonly #described = new Map<number, Description>();
  readonly #relations = new Map<string, { readonly oid: number; readonly at: number }>();
  readonly #changed = new Map<number, readonly Buffer[]>();

  constructor(frames: readonly Buffer[], random: Random) {
    this.frames = frames;
    this.random = random;
    let transaction: Transaction = { begin: 0, end: 0, events: [] };
    for (const [at, frame] of frames.entries()) {
      const tag = tagOf(frame);
      if (tag === 'B') transaction = { begin: at, end: at, events: [] };
      else if (tag === 'C') transaction.end = at;
      else if (tag === 'R') this.#describe(at, parseDescription(frame));
      else if (tag === 'T') this.truncates.push(at);
      else if (tag === 'k') this.chunks.push(chunkAt(at, frame));
      else if (tag === 'I' || tag === 'U' || tag === 'D') this.#note(at, parseRow(frame), transaction);
    }
  }

  /** The frames with all that was changed. */
  tampered(): readonly Buffer[] {
    return this.frames.flatMap((frame, at) => this.#changed.get(at) ?? [frame]);
  }

  replace(at: number, ...frames: readonly Buffer[]): void {
    this.#changed.set(at, frames);
  }

  rewrite(event: LogEvent, change: Partial<RowMessage>): void {
    this.replace(event.at, rowFrame({ ...event, ...change }));
  }

  rewriteChunk(chunk: LogChunk, lines: readonly string[]): void {
    this.replace(chunk.at, chunkFrameOf({ ...chunk, lines }));
  }

  /** Its number, and the frame that describes it: what stands before that cannot be of it. */
  relation(table: string): { readonly oid: number; readonly at: number } {
    const found = this.#relations.get(table);
    if (found === undefined) throw new Error(`no change of ${table} is in the log`);
    return found;
  }

  value(event: LogEvent, column: string): string | null | undefined {
    return event.next?.[event.columns.indexOf(column)];
  }

  /** The event's new row with one value changed. */
  with(event: LogEvent, values: Readonly<Record<string, string | null>>): Row {
    return event.next!.map((value, i) => (Object.hasOwn(values, event.columns[i]!) ? values[event.columns[i]!]! : value));
  }

  of(table: string): readonly LogEvent[] {
    return this.events.filter((event) => event.table === table);
  }

  /** Nothing that comes later overwrites it. */
  isLast({ at, table, key, oldKey }: LogEvent): boolean {
    const isOverwritten = this.events.some(
      (later) =>
        later.at > at &&
        later.table === table &&
        [key, oldKey].some((one) => one === later.key || (one === later.oldKey && one !== undefined)),
    );
    return !isOverwritten && !(table === 'visit' && this.truncates.some((truncate) => truncate > at));
  }

  pick(table: string, isFit: (event: LogEvent) => boolean): LogEvent {
    return this.choose(
      `an event of ${table}`,
      this.of(table).filter((event) => this.isLast(event) && isFit(event)),
    );
  }

  choose<T>(what: string, candidates: readonly T[]): T {
    if (candidates.length === 0) throw new Error(`the load has no ${what} for this fault`);
    return candidates[this.random.between(0, candidates.length - 1)]!;
  }

  /** Whether the stream says nothing of this key. */
  isQuiet(table: string, key: string): boolean {
    return !this.events.some((event) => event.table === table && (event.key === key || event.oldKey === key));
  }

  /** Lines of a chunk by the key of their rows, the key being their first column. */
  quietLines({ table, lines }: LogChunk): readonly { readonly line: number; readonly key: string }[] {
    return lines.map((text, line) => ({ line, key: text.split(/[\t\n]/)[0]! })).filter(({ key }) => this.isQuiet(table, key));
  }

  #describe(at: number, description: Description): void {
    const { oid, table } = description;
    this.#described.set(oid, description);
    if (!this.#relations.has(table)) this.#relations.set(table, { oid, at });
  }

  #note(at: number, message: RowMessage, transaction: Transaction): void {
    const { table, columns } = this.#described.get(message.oid)!;
    const keyOf = (row: Row | undefined): string | undefined =>
      row && SOURCE_KEYS[table]!.map((column) => row[columns.indexOf(column)]).join(',');
    const key = keyOf(message.next ?? message.old)!;
    const oldKey = message.next === undefined ? undefined : keyOf(message.old);
    const event = { ...message, at, table, columns, key, oldKey: oldKey === key ? undefined : oldKey, transaction };
    transaction.events.push(event);
    this.events.push(event);
  }
}

function chunkAt(at: number, frame: Buffer): LogChunk {
  const chunk = parseChunk(frame);
  return { ...chunk, at, table: chunk.header.table };
}
