/**
 * Whether what a computed column comes to may go into its target's type. Guarantee: a copy (`from` without steps) follows the rules of
 * `columns`; a constant is a value of the type; numbers do not become floating point or money by the way; a zone step ends in the kind of time that the column has.
 */
import type { SetEntry } from '../config/migration-file.ts';
import type { StepName } from '../config/step-schema.ts';
import type { CatalogColumn } from '../table.ts';
import type { ColumnContext } from './compile-columns.ts';
import { constantFault } from './constant-fit.ts';
import { stepName } from './steps/build-step.ts';
import { StepRefusal } from './steps/step.ts';
import { formOf, targetForm } from './steps/target-form.ts';
import { fitTypes, underDomain } from './type-fit.ts';

const NUMBERS: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'numeric', 'float4', 'float8']);
const INEXACT: ReadonlySet<string> = new Set(['float4', 'float8', 'money']);
const TIMES: ReadonlySet<string> = new Set(['timestamp', 'timestamptz', 'date', 'time', 'timetz']);
/** Behind these a number is still the one that it was, or one of a `decimal`. */
const KEEP_NUMBERS: ReadonlySet<StepName> = new Set<StepName>(['default', 'nullIf', 'coalesce', 'trim', 'decimal']);
const KEEP_ALL: ReadonlySet<StepName> = new Set<StepName>(['default', 'nullIf']);

export function checkFit(target: CatalogColumn, set: SetEntry, inputs: readonly CatalogColumn[], context: ColumnContext): void {
  if (set.value !== undefined) checkConstant(target, set, context);
  else if (set.steps.length === 0) checkCopy(target, set, inputs, context);
  else {
    checkNumbers(target, set, inputs, context);
    checkZone(target, set, context);
  }
}

function checkConstant(target: CatalogColumn, set: SetEntry, { list, world }: ColumnContext): void {
  const fault = formFault(target, set.value!) ?? constantFault(set.value!, target, world);
  if (fault !== undefined) list.error('CF-4001', `"${target.name}" of type ${target.type}: ${fault}`, set);
}

function formFault(target: CatalogColumn, value: string | null): string | undefined {
  try {
    if (value !== null) targetForm(formOf(target))(value);
    return undefined;
  } catch (error) {
    if (error instanceof StepRefusal) return error.message;
    throw error;
  }
}

// oxlint-disable-next-line max-params -- one entry, and where it stands
function checkCopy(target: CatalogColumn, set: SetEntry, [column]: readonly CatalogColumn[], { world, list }: ColumnContext): void {
  const fit = fitTypes(column!, target, world);
  if (fit.kind !== 'no') return;
  const remedy = 'Say how by steps (for example cast, decimal or zone), or move the column under `columns` with a cast.';
  list.error('CF-4001', `"${target.name}" is ${target.type}, made of "${column!.name}", which is ${column!.type}: ${fit.why}`, set, remedy);
}

// oxlint-disable-next-line max-params -- one entry, and where it stands
function checkNumbers(target: CatalogColumn, set: SetEntry, inputs: readonly CatalogColumn[], { world, list }: ColumnContext): void {
  const plain = underDomain(target);
  const names = set.steps.map(({ step }) => stepName(step));
  if (!isBuiltin(plain, INEXACT) || !names.every((name) => KEEP_NUMBERS.has(name))) return;
  const lossy = names.includes('decimal')
    ? inputs
    : inputs.filter((column) => isBuiltin(underDomain(column), NUMBERS) && fitTypes(column, plain, world).kind === 'no');
  if (lossy.length === 0) return;
  const remedy =
    plain.typeName === 'money'
      ? "Change the column's type on the target, to numeric."
      : `End with the step \`{ cast: ${plain.baseType} }\`.`;
  list.error('CF-4001', `"${target.name}" is ${target.type}, which may round what is made of "${lossy[0]!.name}"`, set, remedy);
}

function checkZone(target: CatalogColumn, set: SetEntry, { list }: ColumnContext): void {
  const last = set.steps.findLast(({ step }) => !KEEP_ALL.has(stepName(step)));
  const zone = last?.step.zone;
  const plain = underDomain(target);
  if (last === undefined || zone === undefined || !isBuiltin(plain, TIMES)) return;
  const wanted = zone.from === undefined ? 'timestamp' : 'timestamptz';
  if (plain.typeName === wanted) return;
  const gives = zone.from === undefined ? '`zone: { to }` gives a local time' : '`zone: { from }` gives a moment';
  list.error(
    'CF-4001',
    `"${target.name}": ${gives}, and the column is ${target.type}`,
    last,
    `Change the column's type on the target to ${wanted}.`,
  );
}

function isBuiltin({ builtin, elementOid, typeName = '' }: CatalogColumn, types: ReadonlySet<string>): boolean {
  return builtin && elementOid === 0 && types.has(typeName);
}
