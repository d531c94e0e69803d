/**
 * The computed columns of a table, and the function that computes them. Guarantee: pure, the same wherever it is called (transformer,
 * sink, reconciler); an absent input makes the column absent, never null, and where another input may have changed the row is refused; a value
 * that a step refuses is told without the value.
 */
import type { StepBlock, StepName } from '#schemas/config/step-schema.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import type { UserFunctions } from './user-function.ts';
import { buildStep, contextAt, stepName } from './build-step.ts';
import { StepRefusal, type Step, type Value } from './step.ts';
import { coveredBy, targetForm, type TargetForm } from './target-form.ts';

export interface TableSteps {
  /** Source columns that any computed column reads. */
  readonly inputs: readonly CatalogColumn[];
  readonly computed: readonly ComputedColumn[];
  /** That steps call. */
  readonly functions?: UserFunctions;
  /** Of everything that decides a value; secrets are told apart by it and not told. */
  readonly digest: string;
}

export interface ComputedColumn {
  /** Index in the mapping's columns. */
  readonly column: number;
  readonly target: string;
  /** Indexes in `inputs`; empty for a constant. */
  readonly from: readonly number[];
  readonly value?: string | null;
  readonly steps: readonly StepBlock[];
  readonly form: TargetForm;
}

/** Undefined: absent. */
export type Field = string | null | undefined;

/** Why a row has no image. Names no value. */
export interface RowRefusal {
  readonly code: 'CF-4002';
  readonly column: string;
  readonly message: string;
}

export interface RowFunction {
  readonly steps: TableSteps;
  /** Fills `into`, one field for each computed column, from `inputs` in the order of `steps.inputs`. */
  readonly compute: (inputs: readonly Field[], into: Field[]) => RowRefusal | undefined;
}

const compiled = new WeakMap<TableSteps, RowFunction>();

/** Compiled once for each table. */
export function rowFunction(steps: TableSteps): RowFunction {
  let known = compiled.get(steps);
  if (known === undefined) compiled.set(steps, (known = { steps, compute: compileRow(steps) }));
  return known;
}

function compileRow(steps: TableSteps): RowFunction['compute'] {
  const columns = steps.computed.map((column) => compileColumn(column, steps));
  return (inputs, into) => {
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i]!;
      try {
        into[i] = column.compute(inputs);
      } catch (error) {
        if (!(error instanceof StepRefusal)) throw error;
        return { code: 'CF-4002', column: column.target, message: error.message };
      }
    }
    return undefined;
  };
}

interface CompiledColumn {
  readonly target: string;
  /** @throws StepRefusal */
  readonly compute: (inputs: readonly Field[]) => Field;
}

function compileColumn({ target, from, value, steps, form }: ComputedColumn, { inputs, functions }: TableSteps): CompiledColumn {
  if (value !== undefined) return { target, compute: () => value };
  const context = { inputs: from.map((i) => inputs[i]!), ...(functions !== undefined && { functions }) };
  const built = steps.map((block, i) => buildStep(block, contextAt(steps, i, context)));
  const nameOf = (i: number): string => (i < steps.length ? `step ${i + 1} (${stepName(steps[i]!)})` : 'the target column');
  const [first] = built;
  const isStorable = steps.every((block) => KEEP_STORABLE.has(stepName(block)));
  const chain = chainOf(first?.takes === 'many' ? [undefined, ...built.slice(1)] : built, { form, isStorable }, nameOf);
  if (first?.takes !== 'many') {
    const [only] = from as [number];
    return {
      target,
      compute: (row) => {
        const start = row[only];
        return typeof start === 'string' || start === null ? chain(start, 0) : undefined;
      },
    };
  }
  const gathered: Value[] = from.map(() => null);
  return {
    target,
    compute: (row) => {
      for (let i = 0; i < from.length; i++) {
        const field = row[from[i]!];
        if (field === undefined) {
          if (from.length === 1) return undefined;
          // Another of them may have changed: left alone, the column would go stale.
          throw new StepRefusal('one of the columns it is made of is absent from a change: the table needs REPLICA IDENTITY FULL');
        }
        gathered[i] = field;
      }
      let start: Value;
      try {
        start = first.apply(gathered);
      } catch (error) {
        throw named(error, nameOf(0));
      }
      return chain(start, 1);
    },
  };
}

type OneStep = Step & { readonly takes: 'one' };

/** All steps but one of several columns, and what the target column asks for: one loop, for it runs for every value of every row. */
function chainOf(
  steps: readonly (Step | undefined)[],
  { form, isStorable }: { readonly form: TargetForm; readonly isStorable: boolean },
  nameOf: (i: number) => string,
): (start: Value, from: number) => Value {
  const links = steps.map((step) => (step?.takes === 'one' ? step : undefined));
  const fits = coveredBy(form, links.at(-1)?.gives) ? undefined : targetForm(form);
  const [ofText, ofNull] = [links.map((link) => link?.ofText ?? applied(link)), links.map((link) => link?.ofText === undefined)];
  return (start, from) => {
    let value = start;
    let i = from;
    try {
      for (; i < ofText.length; i++) if (value !== null || ofNull[i]!) value = ofText[i]!(value as string);
      if (value === null) return value;
      if (!isStorable) checkStorable(value);
      fits?.(value);
      return value;
    } catch (error) {
      throw named(error, nameOf(i));
    }
  };
}

/** Of texts that PostgreSQL can hold they make such texts, the file's own values included: nobody has to look at each. */
const KEEP_STORABLE: ReadonlySet<StepName> = new Set<StepName>([
  ...(['trim', 'case', 'normalise', 'default', 'nullIf', 'map', 'lookup', 'zone', 'decimal', 'concat', 'coalesce'] as const),
  ...(['extract', 'hash', 'hmac', 'uuid5'] as const),
]);

function applied(step: OneStep | undefined): (value: string) => Value {
  return step === undefined ? (value): Value => value : step.apply;
}

/** What UTF-8 cannot write would become U+FFFD on its way, and a NUL stands in no text of PostgreSQL. */
function checkStorable(text: string): void {
  if (text.isWellFormed() && !text.includes('\0')) return;
  throw new StepRefusal('what the steps made is no text that PostgreSQL can hold: half a character (a lone surrogate), or a NUL');
}

/** Says in a refusal which step it was. */
function named(error: unknown, name: string): unknown {
  return error instanceof StepRefusal ? new StepRefusal(`${name}: ${error.message}`) : error;
}
