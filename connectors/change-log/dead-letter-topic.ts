/**
 * Where rows that were set aside are told to others. Guarantee: what `publish` has resolved for is durable; a record may come more than
 * once, so its headers name the row by an id of its own.
 */
export interface DeadLetterRecord {
  readonly key: string;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface LogPlace {
  readonly topic: string;
  /** -1: not known any more, as the offset. */
  readonly partition: number;
  readonly offset: number;
}

export interface PlacedRow {
  /** On the source. */
  readonly from: { readonly schema: string; readonly name: string };
  /** Texts in the order of the table's key. */
  readonly key: readonly string[];
  /** Of the raw log: the row stands below it. */
  readonly logOffset: number;
}

export interface DeadLetterTopic {
  /** Where the log holds the row. */
  placeOf(row: PlacedRow): Promise<LogPlace>;
  publish(records: readonly DeadLetterRecord[]): Promise<void>;
}
