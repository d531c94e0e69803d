/** What a test of the mapping holds once it is read (the grammar is in test-schema.ts). */
import type { Place } from './yaml-source.ts';

export interface PlacedValue extends Place {
  readonly text: string | null;
}

export interface ExpectedRow extends Place {
  /** `schema.table`; absent where the source table has one target. */
  readonly to?: string;
  readonly columns: ReadonlyMap<string, PlacedValue>;
}

export interface MappingTest extends Place {
  readonly name: string;
  /** `schema.table` of the source. */
  readonly from: string;
  /** Whose mapping is tested; absent: the file has one target. */
  readonly target?: string;
  /** By source column; those that are not named are null. */
  readonly given: ReadonlyMap<string, PlacedValue>;
  /** Empty: the row is left out. */
  readonly expect?: readonly ExpectedRow[];
  /** A code, or a part of the message, by which the row is refused. */
  readonly error?: PlacedValue;
  /** File that it stands in. */
  readonly path: string;
}
