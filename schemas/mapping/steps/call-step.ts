/**
 * A function of the user's own, over a row. Guarantee: it gets the columns named under their names, whole numbers as bigint, true and false
 * as such, every other type as PostgreSQL's text; what it throws or gives back wrongly refuses the row and nothing else.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { underDomain } from '../type-fit.ts';
import { UserFunctionFailure } from './user-function.ts';
import { StepFault, StepRefusal, type Step, type StepContext, type Value } from './step.ts';

const WHOLE: ReadonlySet<string> = new Set(['int2', 'int4', 'int8']);

export function callStep(reference: NonNullable<StepBlock['call']>, { inputs, functions }: StepContext): Step {
  const called = functions?.get(reference);
  if (called === undefined) throw new StepFault(`the function ${reference} was not loaded`);
  const readers = inputs.map(readerOf);
  return {
    takes: 'many',
    apply: (values) => {
      const row = Object.fromEntries(inputs.map(({ name }, i) => [name, values[i] === null ? null : readers[i]!(values[i]!)]));
      try {
        return textOf(called.call(row));
      } catch (error) {
        throw error instanceof UserFunctionFailure ? new StepRefusal(error.message) : error;
      }
    },
  };
}

function readerOf(column: CatalogColumn): (text: string) => string | bigint | boolean {
  const { typeName = '', builtin, elementOid } = underDomain(column);
  if (builtin && elementOid === 0 && WHOLE.has(typeName)) return BigInt;
  if (builtin && elementOid === 0 && typeName === 'bool') return (text) => text === 't';
  return (text) => text;
}

function textOf(value: unknown): Value {
  if (value === null || typeof value === 'bigint') return value === null ? null : String(value);
  if (typeof value === 'number') {
    // What comes of reckoning with what was no number, or of dividing by zero: numeric would take it without a word.
    if (!Number.isFinite(value))
      throw new StepRefusal(`the function gave back ${value}; where that is meant, let it give the text '${value}'`);
    return String(value);
  }
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value === 'string' && !value.includes('\0')) return value;
  throw new StepRefusal('the function gave back neither text nor a number, true, false or null');
}
