/** What a step is once it is compiled. Guarantee: pure; a value that it cannot take is refused by name of the step, never by its text. */
import type { CatalogColumn } from '#schemas/table.ts';
import type { TargetForm } from './target-form.ts';
import type { UserFunctions } from './user-function.ts';

/** Text of a value, or null. Absent values never reach a step. */
export type Value = string | null;

export type Step =
  /** Of the value so far. */
  | {
      readonly takes: 'one';
      readonly apply: (value: Value) => Value;
      /** The same of a text, where null passes. */
      readonly ofText?: (text: string) => Value;
      /** What it gives fits every column of this form: nobody has to look at each value. */
      readonly gives?: TargetForm;
    }
  /** Of all columns named: the first step only. */
  | { readonly takes: 'many'; readonly apply: (values: readonly Value[]) => Value };

/** What a step is compiled for. */
export interface StepContext {
  readonly inputs: readonly CatalogColumn[];
  /** Those that `call` names. */
  readonly functions?: UserFunctions;
  /** Nothing comes before the step: it may take several columns. */
  readonly isFirst?: boolean;
  /** The column whose own value comes to the step; absent where other steps may have changed it. */
  readonly raw?: RawColumn;
  /** Between the elements of the array that comes to the step; absent: a comma. */
  readonly delimiter?: string;
}

export interface RawColumn {
  readonly column: CatalogColumn;
  /** A default may stand in the place of its nulls, as it is written in the file. */
  readonly orDefault: boolean;
}

/** A step does not take this value. The message holds no value. */
export class StepRefusal extends Error {
  override readonly name = 'StepRefusal';
}

/** The file asks for something that cannot be. */
export class StepFault extends Error {
  override readonly name = 'StepFault';
  readonly remedy: string | undefined;

  constructor(message: string, remedy?: string) {
    super(message);
    this.remedy = remedy;
  }
}

/** A step that leaves null alone. */
export function onText(ofText: (text: string) => Value, gives?: TargetForm): Step & { readonly takes: 'one' } {
  return { takes: 'one', ofText, apply: (value) => (value === null ? null : ofText(value)), ...(gives !== undefined && { gives }) };
}
