/**
 * A CEL expression over a row. Guarantee: types are checked when the file is compiled, not when a row comes; whole numbers and numerics
 * are exact; an expression that needs a null gives null, as in SQL, unless it asks `has(row.column)` first; whatever goes wrong in it
 * refuses the row, and nothing of the row is told.
 */
import { Environment, EvaluationError, type ASTNode } from '@marcbachmann/cel-js';
import { didYouMean } from '#schemas/nearest-name.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { underDomain } from '../type-fit.ts';
import { decimalText, parseDecimal, rescale, type Decimal, type Rounding } from './decimal.ts';
import { registerFunctions, replaceCall } from './expression-functions.ts';
import { StepFault, StepRefusal, type Step, type StepContext, type Value } from './step.ts';

/** A number of any size and scale, as a type of CEL. */
class Numeric {
  readonly value: Decimal;

  constructor(value: Decimal) {
    this.value = value;
  }
}

/** What the columns are within the expression. */
class Row {
  [column: string]: unknown;
}

type CelType = 'int' | 'decimal' | 'double' | 'bool' | 'string';

const TYPES: Readonly<Record<string, CelType>> = {
  int2: 'int',
  int4: 'int',
  int8: 'int',
  oid: 'int',
  numeric: 'decimal',
  float4: 'double',
  float8: 'double',
  bool: 'bool',
};

const READ: Readonly<Record<CelType, (text: string) => unknown>> = {
  int: BigInt,
  decimal: (text) => new Numeric(numeric(text)),
  double: Number,
  bool: (text) => text === 't',
  string: (text) => text,
};

/** What an expression may come to; dyn is looked at row by row. */
const RESULTS: ReadonlySet<string> = new Set(['int', 'decimal', 'double', 'bool', 'string', 'dyn', 'null']);
const NO_SUCH_KEY = 'No such key: ';

export function expressionStep(expression: string, { inputs }: StepContext): Step {
  const types = inputs.map(typeOf);
  const environment = environmentOf(inputs, types);
  const checked = environment.check(expression);
  if (!checked.valid) throw new StepFault(faultOf(checked.error, inputs), remedyFor(checked.error));
  const type = String(checked.type);
  if (!RESULTS.has(type)) throw new StepFault(`the expression gives ${type}; expected text, a number, or true or false`);
  const program = environment.parse(expression);
  settleCalls(program.ast);
  return {
    takes: 'many',
    apply: (values) => {
      const row = new Row();
      for (let i = 0; i < inputs.length; i++) {
        const value = values[i]!;
        if (value !== null) row[inputs[i]!.name] = READ[types[i]!](value);
      }
      try {
        return textOf(program({ row }) as unknown);
      } catch (error) {
        if (error instanceof StepRefusal) throw error;
        // Of the runtime's own (a time zone that there is not): its message may quote the row.
        if (!(error instanceof EvaluationError)) throw new StepRefusal('the expression failed');
        if (error.code === 'no_such_key' && isNull(error.summary.slice(NO_SUCH_KEY.length), inputs, values)) return null;
        throw new StepRefusal(`the expression failed (${error.code})`);
      }
    },
  };
}

const TIMES = 'Times are texts here: use the steps `zone`, `cast` or `split`, or write a function and name it by `call`.';

/** Functions of the library that are not for rows, and what to do without. */
const NOT_OFFERED: Readonly<Record<string, string>> = {
  // By backtracking, without an end that anybody could wait for, and no other table gets its turn.
  matches: 'Write a function and name it by `call`, which has its own time limit; or use startsWith, endsWith or contains.',
  json: 'Use the step `extract`.',
  // Of milliseconds, and in the zone of the process that happens to ask.
  timestamp: TIMES,
  duration: TIMES,
  uint: 'Use int.',
};

/** What is not offered is refused; what the library does otherwise than CEL says is ours. @throws StepFault */
function settleCalls(node: unknown): void {
  if (Array.isArray(node)) for (const inner of node) settleCalls(inner);
  else if (isNode(node)) {
    if (node.op === 'rcall' || node.op === 'call') {
      const [name] = node.args;
      if (Object.hasOwn(NOT_OFFERED, name))
        throw new StepFault(`at character ${node.start + 1}: \`${name}\` cannot be used here`, NOT_OFFERED[name]);
      replaceCall(node.args);
    }
    settleCalls(node.args);
  }
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

function typeOf(column: CatalogColumn): CelType {
  const { typeName = '', builtin, elementOid } = underDomain(column);
  return (builtin && elementOid === 0 ? TYPES[typeName] : undefined) ?? 'string';
}

function isNull(name: string, inputs: readonly CatalogColumn[], values: readonly Value[]): boolean {
  const at = inputs.findIndex((column) => column.name === name);
  return at >= 0 && values[at] === null;
}

interface CelError {
  readonly code?: string | undefined;
  readonly summary?: string | undefined;
  readonly range?: { readonly start: number } | undefined;
}

function remedyFor(error: CelError | undefined): string {
  if (error?.summary?.startsWith('no such overload') !== true) return 'Columns are written row.name; has(row.name) asks for null.';
  return 'Bring both sides to one type: string(row.name), int(row.name) or decimal(row.name).';
}

function faultOf(error: CelError | undefined, inputs: readonly CatalogColumn[]): string {
  const summary = error?.summary?.replace('Unexpected token: EOF', 'the expression ends too early') ?? 'it cannot be read';
  const near = summary.startsWith(NO_SUCH_KEY)
    ? didYouMean(
        summary.slice(NO_SUCH_KEY.length),
        inputs.map((column) => column.name),
      )
    : '';
  return `at character ${(error?.range?.start ?? 0) + 1}: ${summary}${near}`;
}

function textOf(value: unknown): Value {
  if (value === null || typeof value === 'string') return value;
  // JavaScript writes -0 as 0.
  if (typeof value === 'bigint' || typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (value instanceof Numeric) return decimalText(value.value);
  throw new StepRefusal('the expression gave neither text nor a number nor true or false');
}

/** @throws StepRefusal */
function numeric(text: string): Decimal {
  const value = parseDecimal(text);
  if (value === undefined) throw new StepRefusal('the value is no finite number');
  return value;
}

const ROUNDINGS: ReadonlySet<string> = new Set(['half-up', 'half-down', 'half-even', 'up', 'down', 'ceiling', 'floor']);
const SCALE_MAX = 1000n;

function rounded({ value }: Numeric, scale: bigint, mode: string): Numeric {
  if (!ROUNDINGS.has(mode) || scale < 0n || scale > SCALE_MAX)
    throw new StepRefusal('round takes 0 to 1000 digits and the name of a rounding');
  return new Numeric(rescale(value, Number(scale), mode as Rounding));
}

type Operand = Numeric | bigint | number;

/** A literal like 10.5 is a double to CEL; its own shortest text is what stands in the file. */
function decimalOf(operand: Operand): Decimal {
  if (operand instanceof Numeric) return operand.value;
  return typeof operand === 'bigint' ? { digits: operand, scale: 0 } : numeric(String(operand));
}

function aligned(a: Operand, b: Operand): { readonly a: bigint; readonly b: bigint; readonly scale: number } {
  const [one, other] = [decimalOf(a), decimalOf(b)];
  const scale = Math.max(one.scale, other.scale);
  return { a: rescale(one, scale, undefined).digits, b: rescale(other, scale, undefined).digits, scale };
}

function product(a: Operand, b: Operand): Numeric {
  const [one, other] = [decimalOf(a), decimalOf(b)];
  return new Numeric({ digits: one.digits * other.digits, scale: one.scale + other.scale });
}

const ARITHMETIC: Readonly<Record<string, (a: Operand, b: Operand) => Numeric>> = {
  '+': (one, other) => {
    const { a, b, scale } = aligned(one, other);
    return new Numeric({ digits: a + b, scale });
  },
  '-': (one, other) => {
    const { a, b, scale } = aligned(one, other);
    return new Numeric({ digits: a - b, scale });
  },
  '*': product,
};

const COMPARISON: Readonly<Record<string, (a: bigint, b: bigint) => boolean>> = {
  '==': (a, b) => a === b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

const OPERANDS = ['decimal', 'int', 'double'] as const;

function environmentOf(inputs: readonly CatalogColumn[], types: readonly CelType[]): Environment {
  const environment = registerFunctions(new Environment().registerType('decimal', { ctor: Numeric, fields: {} }));
  for (const other of OPERANDS) {
    for (const [left, right] of other === 'decimal'
      ? [['decimal', other]]
      : [
          ['decimal', other],
          [other, 'decimal'],
        ]) {
      for (const [sign, apply] of Object.entries(ARITHMETIC)) environment.registerOperator(`${left} ${sign} ${right}`, apply);
      for (const [sign, holds] of Object.entries(COMPARISON)) {
        // CEL takes equality to hold both ways round.
        if (sign === '==' && left !== 'decimal') continue;
        environment.registerOperator(`${left} ${sign} ${right}`, (one: Operand, two: Operand) => {
          const { a, b } = aligned(one, two);
          return holds(a, b);
        });
      }
    }
  }
  const named = Object.fromEntries(inputs.map((column, i) => [column.name, types[i]!]));
  return environment
    .registerFunction('decimal(string): decimal', (text: string) => new Numeric(numeric(text)))
    .registerFunction('decimal(int): decimal', (value: bigint) => new Numeric(decimalOf(value)))
    .registerFunction('string(decimal): string', (value: Numeric) => decimalText(value.value))
    .registerFunction('decimal.round(int, string): decimal', rounded)
    .registerType('Row', { ctor: Row, fields: named })
    .registerVariable('row', 'Row');
}
