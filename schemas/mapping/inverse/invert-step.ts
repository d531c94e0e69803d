/**
 * Steps backwards. Guarantee: an inverse is given only where every value that the step takes comes back as the very text that went in,
 * whatever the target's column printed of it; else the reason why not. What is given as steps of a file does the same, and refuses what
 * no value that went in comes to.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import type { ColumnMapping } from '../compiled-mapping.ts';
import { canonicalOf } from '../row-filter.ts';
import { contextAt, stepName } from '../steps/build-step.ts';
import { decimalText, parseDecimal, rescale, scaled } from '../steps/decimal.ts';
import type { Value } from '../steps/step.ts';
import { zoneStep } from '../steps/zone-step.ts';
import { numericSize } from '../type-modifier.ts';
import { underDomain } from '../type-fit.ts';
import { targetText } from '../value-text.ts';

export type Back = (text: string) => string;

/** A reason is said of the column: "… is lost: `reason`". */
export type Inverted = { readonly back: Back; readonly steps: readonly StepBlock[] } | { readonly why: string };

const SAME: Inverted = { back: (text) => text, steps: [] };
const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);
const LOCAL = 'timestamp without time zone';

interface Position {
  readonly column: CatalogColumn;
  readonly steps: readonly StepBlock[];
  readonly index: number;
  readonly target: ColumnMapping;
}

/** All steps between one source column and its target column. */
export function invertSteps(column: CatalogColumn, steps: readonly StepBlock[], target: ColumnMapping): Inverted {
  const backs: Back[] = [];
  const inverse: StepBlock[] = [];
  for (let index = 0; index < steps.length; index++) {
    const inverted = invertStep({ column, steps, index, target });
    if ('why' in inverted) return inverted;
    backs.unshift(inverted.back);
    inverse.unshift(...inverted.steps);
  }
  return { back: (text) => backs.reduce((value, back) => back(value), text), steps: inverse };
}

function invertStep(position: Position): Inverted {
  const { column, steps, index } = position;
  const block = steps[index]!;
  const name = stepName(block);
  // Behind another step the values are not those of the column's type any more.
  const isFirst = steps.slice(0, index).every((one) => stepName(one) === 'default');
  if (block.default !== undefined) return column.notNull ? SAME : { why: 'a null comes back as the default' };
  if (block.map !== undefined) return invertMap(block.map, position);
  if (!isFirst) return { why: `${name} cannot be undone behind another step` };
  if (block.decimal !== undefined) return invertDecimal(block.decimal, column);
  if (block.cast !== undefined) return invertCast(block.cast, column);
  if (block.zone !== undefined) return invertZone(block.zone, column);
  return { why: `${name} cannot be undone` };
}

function invertMap({ values, else: otherwise }: NonNullable<StepBlock['map']>, { column, steps, index, target }: Position): Inverted {
  if (otherwise !== 'fail') return { why: 'map takes values that are not listed' };
  const { raw } = contextAt(steps, index, { inputs: [column] });
  const canonical = raw === undefined ? undefined : canonicalOf(raw.column);
  const isLast = index === steps.length - 1;
  const back = new Map<string, string>();
  for (const [key, value] of Object.entries(values)) {
    if (value === null) return { why: `map makes "${key}" null` };
    const printed = isLast ? targetText(target, value) : value;
    const other = back.get(printed);
    const form = canonical?.(key) ?? key;
    if (other !== undefined && other !== form) return { why: `map sends several values to "${value}"` };
    back.set(printed, form);
  }
  return { back: (text) => back.get(text) ?? text, steps: [{ map: { values: Object.fromEntries(back), else: 'fail' } }] };
}

/** Digits behind the point that every value of the column has; undefined where they differ, or it holds no numbers. */
function digitsOf(column: CatalogColumn): number | undefined {
  const { baseType, typmod } = underDomain(column);
  if (WHOLE.has(baseType)) return 0;
  return baseType === 'numeric' ? numericSize(typmod)?.scale : undefined;
}

function invertDecimal({ multiply, divide, round }: NonNullable<StepBlock['decimal']>, column: CatalogColumn): Inverted {
  const digits = digitsOf(column);
  if (round !== undefined) return { why: 'decimal rounds' };
  if (digits === undefined) return { why: 'the digits behind the point are not kept' };
  const by = parseDecimal(divide ?? '1')!;
  const over = parseDecimal(multiply ?? '1')!;
  if (over.digits === 0n) return { why: 'decimal makes all values 0' };
  return {
    back: (text) => {
      const value = parseDecimal(text);
      return value === undefined ? text : decimalText(scaled(value, { by, over, scale: digits, mode: undefined }));
    },
    steps: [
      {
        decimal: { ...(divide !== undefined && { multiply: divide }), ...(multiply !== undefined && { divide: multiply }), scale: digits },
      },
    ],
  };
}

function invertCast({ to, onError }: NonNullable<StepBlock['cast']>, column: CatalogColumn): Inverted {
  const { baseType } = underDomain(column);
  const digits = digitsOf(column);
  // Whole numbers stay what they are in any type of numbers but a floating point one.
  const keeps = WHOLE.has(baseType) && /^\s*(?:smallint|int\d?|integer|bigint|numeric|decimal)\b/i.test(to);
  if (onError !== 'fail' || !(keeps || to === baseType) || digits === undefined)
    return { why: `cast to ${to} keeps the value, not its text` };
  return { back: (text) => toDigits(text, digits), steps: [{ decimal: { scale: digits } }] };
}

/** The same number with as many digits behind the point. */
export function toDigits(text: string, digits: number): string {
  const value = parseDecimal(text);
  return value === undefined ? text : decimalText(rescale(value, digits, undefined));
}

/** A moment that no local time went up to is refused: the clocks of the zone show its local time twice, and it is the other one. */
function invertZone(block: NonNullable<StepBlock['zone']>, column: CatalogColumn): Inverted {
  if (block.from === undefined) return { why: `moments of the hour that the clocks of ${block.to} show twice come back as one` };
  if (block.skipped !== 'fail') return { why: `local times that the clocks of ${block.from} leave out come back as others` };
  if (underDomain(column).baseType !== LOCAL) return { why: 'zone changes the text' };
  const zone = { to: block.from, ambiguous: block.ambiguous, skipped: 'fail', exact: true } as const;
  const { apply } = zoneStep(zone);
  return { back: (text) => (apply as (value: Value) => string)(text), steps: [{ zone }] };
}
