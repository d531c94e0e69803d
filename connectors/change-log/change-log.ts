/**
 * The change log port. Guarantee: what `append` has resolved for survives a crash, in order, and no reader ever sees a record
 * that is not yet durable.
 *
 * Caller promises: appends to one partition are made one after another (each may be started before the last resolved; order of
 * calls is the order in the log); it bounds, in bytes, what it has in flight; one call at a time on a cursor. Implementer promises:
 * resolve in call order; a batch is stored and delivered whole or not at all; when one append is refused, every one behind it that was
 * begun before its caller could hear of that is refused too, so no batch is stored without the ones before it.
 * Not promised: order between partitions or topics. An append that a crash left unresolved may be there afterwards, or not.
 */
export type Offset = number;

/** `bytes` (all parts concatenated) is `count` times: [length u32 big endian][payload]. The log keeps the buffers: do not change them. */
export interface RecordBatch {
  readonly count: number;
  readonly parts: readonly Buffer[];
}

export interface ReadBatch {
  readonly baseOffset: Offset;
  readonly count: number;
  /** Length-prefixed records, as in RecordBatch. Never modify: other cursors may share it. */
  readonly bytes: Buffer;
}

export interface Cursor {
  /**
   * Next batch at or after the cursor; waits for one. Undefined once `signal` fired or the log closed. A batch may begin below the
   * offset asked for. @throws PipelineError CF-3002 when it is not what was written, CF-3003 when it was trimmed.
   */
  next(signal: AbortSignal): Promise<ReadBatch | undefined>;
  /** Like next, but undefined at once when nothing more is durable. */
  poll(): Promise<ReadBatch | undefined>;
  close(): Promise<void>;
}

export interface Topic {
  readonly name: string;
  readonly partitions: number;
  /** Resolves once durable. @throws PipelineError CF-3001 when it cannot be written (disk full): nothing of the batch is kept (over Kafka it may be, when the answer was lost), and an append in a later turn of the event loop may succeed. */
  append(partition: number, batch: RecordBatch): Promise<{ readonly baseOffset: Offset; readonly endOffset: Offset }>;
  /** Partition for a key: murmur2 over the key bytes, as the Java client does. */
  partitionFor(key: Buffer): number;
  start(partition: number): Offset;
  /** First offset not yet durable. */
  end(partition: number): Offset;
  /** @throws PipelineError CF-3003 when `from` lies below `start` or above `end`. */
  read(partition: number, from: Offset): Cursor;
  /** Durable position of a consumer group; never moves backwards. @throws PipelineError CF-3001 not writable, CF-3003 beyond `end`. */
  commit(group: string, partition: number, offset: Offset): Promise<void>;
  committed(group: string, partition: number): Offset | undefined;
  /** Removes whole segments that lie fully below `before`. */
  trim(partition: number, before: Offset): Promise<void>;
  /** Bytes on disk. */
  size(): number;
}

export interface ChangeLog {
  /** Opens or creates. @throws PipelineError CF-3002 when damaged before the tail, or when the partition count differs. */
  topic(name: string, options: { readonly partitions: number }): Promise<Topic>;
  close(): Promise<void>;
}
