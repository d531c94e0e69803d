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
  /** -1: not known, as the offset. */
  readonly partition: number;
  readonly offset: number;
}

export interface DeadLetterTopic {
  /** Where the sink read the row: `logOffset` is that of the raw log. */
  placeOf(row: { readonly to: { readonly schema: string; readonly name: string }; readonly logOffset: number }): LogPlace;
  publish(records: readonly DeadLetterRecord[]): Promise<void>;
}
