/**
 * Functions of CEL as its specification has them, in place of the library's. Guarantee: characters are code points wherever they are counted; a text
 * is a number only where all of it is one (the library takes an empty text for 0); Ascii means ASCII.
 *
 * The library lets nobody register a function anew, so calls are given other names after they were checked under their own.
 */
import type { Environment } from '@marcbachmann/cel-js';
import { StepRefusal } from './step.ts';

/** Name in an expression → what is run. */
const REPLACED: Readonly<Record<string, string>> = {
  int: 'cfInt',
  double: 'cfDouble',
  substring: 'cfSubstring',
  indexOf: 'cfIndexOf',
  lastIndexOf: 'cfLastIndexOf',
  lowerAscii: 'cfLowerAscii',
  upperAscii: 'cfUpperAscii',
};

/** A call's node, whose first argument is the name. */
export function replaceCall(args: unknown[]): void {
  const [name] = args;
  if (typeof name === 'string' && Object.hasOwn(REPLACED, name)) args[0] = REPLACED[name];
}

const INT_MAX = 2n ** 63n - 1n;
const WHOLE = /^[+-]?\d{1,40}$/;
const NUMBER = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)$/i;

function refuse(code: string): never {
  throw new StepRefusal(`the expression failed (${code})`);
}

function int(value: bigint): bigint {
  return value <= INT_MAX && value >= -INT_MAX - 1n ? value : refuse('int_conversion_error');
}

function double(text: string): number {
  if (!NUMBER.test(text)) refuse('double_conversion_error');
  const word = text.toLowerCase();
  if (word.endsWith('nan')) return NaN;
  return word.includes('inf') ? (word.startsWith('-') ? -Infinity : Infinity) : Number(text);
}

/** Of a text without characters beyond the first 65,536 units and code points are the same. */
const WIDE = /[\ud800-\udfff]/;

function substring(text: string, from: bigint, to?: bigint): string {
  const characters = WIDE.test(text) ? Array.from(text) : undefined;
  const { length } = characters ?? text;
  const [start, end] = [Number(from), to === undefined ? length : Number(to)];
  if (start < 0 || end < start || end > length) refuse('index_out_of_range');
  return characters?.slice(start, end).join('') ?? text.slice(start, end);
}

/** Offset in code points of one in units; -1 stays. */
function counted(text: string, units: number): bigint {
  return BigInt(units < 0 || !WIDE.test(text) ? units : Array.from(text.slice(0, units)).length);
}

/** Offset in units of one in code points. */
function unitsOf(text: string, characters: bigint): number {
  return substring(text, 0n, characters).length;
}

function ascii(pattern: RegExp, change: (letter: string) => string): (text: string) => string {
  return (text) => text.replaceAll(pattern, change);
}

export function registerFunctions(environment: Environment): Environment {
  return environment
    .registerFunction('cfInt(int): int', int)
    .registerFunction('cfInt(double): int', (value: number) =>
      Number.isFinite(value) ? int(BigInt(Math.trunc(value))) : refuse('int_conversion_error'),
    )
    .registerFunction('cfInt(string): int', (text: string) =>
      WHOLE.test(text) ? int(BigInt(text.replace('+', ''))) : refuse('int_conversion_error'),
    )
    .registerFunction('cfDouble(double): double', (value: number) => value)
    .registerFunction('cfDouble(int): double', Number)
    .registerFunction('cfDouble(uint): double', Number)
    .registerFunction('cfDouble(string): double', double)
    .registerFunction('string.cfSubstring(int): string', substring)
    .registerFunction('string.cfSubstring(int, int): string', substring)
    .registerFunction('string.cfIndexOf(string): int', (text: string, sought: string) => counted(text, text.indexOf(sought)))
    .registerFunction('string.cfIndexOf(string, int): int', (text: string, sought: string, from: bigint) =>
      counted(text, text.indexOf(sought, unitsOf(text, from))),
    )
    .registerFunction('string.cfLastIndexOf(string): int', (text: string, sought: string) => counted(text, text.lastIndexOf(sought)))
    .registerFunction('string.cfLastIndexOf(string, int): int', (text: string, sought: string, from: bigint) =>
      counted(text, text.lastIndexOf(sought, unitsOf(text, from))),
    )
    .registerFunction(
      'string.cfLowerAscii(): string',
      ascii(/[A-Z]/g, (letter) => letter.toLowerCase()),
    )
    .registerFunction(
      'string.cfUpperAscii(): string',
      ascii(/[a-z]/g, (letter) => letter.toUpperCase()),
    );
}
