/** What an entry of `checks:` holds. Guarantee: names are as the file writes them; nothing of them is known to be in a catalogue yet. */
import type { Place } from './yaml-source.ts';

/** `amount` is a decimal text; of `percent` a share of the source's value. */
export interface Tolerance {
  readonly unit: 'absolute' | 'percent';
  readonly amount: string;
}

export type CheckKind =
  | { readonly kind: 'sum'; readonly columns: readonly string[]; readonly groupBy: readonly string[] }
  | { readonly kind: 'range'; readonly minMax: readonly string[]; readonly nulls: readonly string[] }
  | { readonly kind: 'children'; readonly parent: string; readonly by?: readonly string[] }
  | { readonly kind: 'sample'; readonly percent: number; readonly parent?: string; readonly by?: readonly string[] }
  | {
      readonly kind: 'sql';
      /** Absent: the target's answer is `expect`. */
      readonly source?: string;
      readonly target: string;
      readonly expect?: string | null;
      readonly ordered: boolean;
      /** Of one answer. */
      readonly timeoutSeconds: number;
    };

export type CheckEntry = {
  readonly name: string;
  /** Absent: the file has one target. */
  readonly target?: string;
  /** Of the target, `schema.table`; absent with `sql`. */
  readonly table?: string;
  readonly tolerance: Tolerance;
  /** Where the value of each key stands. */
  readonly places: Readonly<Record<string, Place>>;
} & Place &
  CheckKind;
