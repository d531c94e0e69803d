/**
 * Computed columns of one table (`set:`). Guarantee: without a finding, every step of every entry can be done on the columns it names,
 * and each entry feeds one target column that nothing else feeds.
 */
import { createHash } from 'node:crypto';
import type { SetEntry } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import type { CatalogColumn } from '../table.ts';
import { canonicalJson } from './canonical-json.ts';
import type { ColumnMapping } from './compiled-mapping.ts';
import type { ColumnContext } from './compile-columns.ts';
import { checkFit } from './computed-fit.ts';
import type { UserFunctions } from './steps/user-function.ts';
import { buildStep, contextAt, stepName } from './steps/build-step.ts';
import { StepFault } from './steps/step.ts';
import { formOf } from './steps/target-form.ts';
import type { ComputedColumn, TableSteps } from './steps/table-steps.ts';
import { showTable } from './table-pattern.ts';
import { underDomain } from './type-fit.ts';

/** What a table's `set:` comes to before the columns are put in order. */
export interface ComputedPart {
  readonly columns: readonly ColumnMapping[];
  /** Source columns that are read. */
  readonly inputs: readonly CatalogColumn[];
  readonly computed: readonly Omit<ComputedColumn, 'column' | 'from'>[];
  readonly from: readonly (readonly string[])[];
}

const NONE: ComputedPart = { columns: [], inputs: [], computed: [], from: [] };

/** Entries that feed a column of this table; under a glob others may be meant for other tables. */
export function entriesOf({ resolved }: ColumnContext): [CatalogColumn, SetEntry][] {
  const { entry, target } = resolved;
  return target.columns.flatMap((column): [CatalogColumn, SetEntry][] => {
    const set = Object.hasOwn(entry.set ?? {}, column.name) ? entry.set![column.name] : undefined;
    return set === undefined ? [] : [[column, set]];
  });
}

export function compileComputed(context: ColumnContext): ComputedPart {
  const entries = entriesOf(context);
  if (entries.length === 0) return NONE;
  const { source } = context.resolved;
  const names = new Set(source.columns.map((column) => column.name));
  const part = { columns: [] as ColumnMapping[], computed: [] as ComputedPart['computed'][number][], from: [] as (readonly string[])[] };
  const inputs = new Map<string, CatalogColumn>();
  for (const [target, set] of entries) {
    const columns = findInputs(target, set, context);
    if (columns === undefined || !checkTarget(target, set, context) || !checkSteps(target, set, columns, context)) continue;
    for (const column of columns) inputs.set(column.name, column);
    part.columns.push({
      target: target.name,
      targetType: target.type,
      targetBaseType: target.baseType,
      ...(target.typtype === 'd' && { targetUnderDomain: underDomain(target).baseType }),
      source: computedColumn(target.name, names),
    });
    part.computed.push({
      target: target.name,
      ...(set.value !== undefined && { value: set.value }),
      steps: set.steps.map(({ step }) => step),
      form: formOf(target),
    });
    part.from.push(set.from);
  }
  return { ...part, inputs: [...inputs.values()] };
}

/** Undefined when one of them cannot be read (reported). */
function findInputs(target: CatalogColumn, { from, ...place }: SetEntry, { resolved, list }: ColumnContext): CatalogColumn[] | undefined {
  const { source } = resolved;
  const found: CatalogColumn[] = [];
  for (const name of from) {
    const column = source.columns.find((one) => one.name === name);
    if (column === undefined) {
      const near = didYouMean(
        name,
        source.columns.map((one) => one.name),
      );
      list.error('CF-1008', `"${target.name}" is made of column "${name}", which ${showTable(source)} does not have${near}`, place);
    } else if (column.generated !== '') {
      const message = `"${target.name}" is made of column "${name}" of ${showTable(source)}, which is generated and so not in the stream`;
      list.error('CF-4001', message, place, 'Compute it from the columns that it is generated from.');
    } else found.push(column);
  }
  return found.length === from.length ? found : undefined;
}

function checkTarget(target: CatalogColumn, place: SetEntry, { resolved, list }: ColumnContext): boolean {
  if (target.generated === '') return true;
  list.error('CF-4001', `column "${target.name}" of ${showTable(resolved.target)} is generated and cannot be written`, place);
  return false;
}

// oxlint-disable-next-line max-params -- one entry, and where it stands
function checkSteps(target: CatalogColumn, set: SetEntry, inputs: readonly CatalogColumn[], whole: ColumnContext): boolean {
  const { list, functions } = whole;
  const before = list.errorCount;
  const context = { inputs, ...(functions !== undefined && { functions }) };
  const about = `"${target.name}"`;
  const blocks = set.steps.map(({ step }) => step);
  set.steps.forEach(({ step, ...place }, i) => {
    const name = stepName(step);
    try {
      const { takes } = buildStep(step, contextAt(blocks, i, context));
      if (takes === 'many' && i > 0) {
        list.error('CF-4001', `${about}: ${name} takes several columns, so it must be the first step`, place);
      }
    } catch (error) {
      if (!(error instanceof StepFault)) throw error;
      list.error('CF-4001', `${about}: ${name}: ${error.message}`, place, error.remedy);
    }
  });
  const [first] = set.steps;
  const several =
    first !== undefined && list.errorCount === before && buildStep(first.step, contextAt(blocks, 0, context)).takes === 'many';
  if (inputs.length > 1 && !several && list.errorCount === before) {
    const remedy = 'Begin with a step that takes several: concat, coalesce, object, cel or call.';
    list.error('CF-4001', `${about} is made of ${inputs.length} columns, but its first step takes one`, first ?? set, remedy);
  }
  if (list.errorCount === before) checkFit(target, set, inputs, whole);
  return list.errorCount === before;
}

const TEXT_OID = 25;

/** What a computed value is before the target column reads it: text, under a name that no source column has. */
function computedColumn(target: string, taken: Set<string>): CatalogColumn {
  let name = `=${target}`;
  while (taken.has(name)) name = `=${name}`;
  taken.add(name);
  return {
    name,
    typeOid: TEXT_OID,
    typmod: -1,
    type: 'text',
    baseType: 'text',
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull: false,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: -1,
    typeName: 'text',
  };
}

/** `first` is the index in the mapping's columns of the first computed one. Undefined: none is computed. */
export function tableSteps(
  { inputs, computed, from }: ComputedPart,
  first: number,
  functions: UserFunctions | undefined,
): TableSteps | undefined {
  if (computed.length === 0) return undefined;
  const at = new Map(inputs.map((column, i) => [column.name, i]));
  const columns = computed.map((one, i) => ({ ...one, column: first + i, from: from[i]!.map((name) => at.get(name)!) }));
  const digests = columns.flatMap(({ steps }) => steps.flatMap(({ call }) => functions?.get(call ?? '')?.digest ?? []));
  return { inputs, computed: columns, digest: digestOf(columns, inputs, digests), ...(functions !== undefined && { functions }) };
}

/** Steps to which a column's type matters. */
const TYPED: ReadonlySet<string> = new Set(['object', 'cel', 'call', 'map', 'lookup', 'nullIf']);

/** Of a source column only what a step may see of it counts. */
function digestOf(computed: readonly ComputedColumn[], inputs: readonly CatalogColumn[], functions: readonly string[]): string {
  const relevant = computed.map(({ target, from, value, steps, form }) => ({
    target,
    from: from.map((i) => inputs[i]!.name),
    types: steps.some((step) => TYPED.has(stepName(step))) ? from.map((i) => typeOf(inputs[i]!)) : [],
    delimiters: steps.some((step) => stepName(step) === 'element') ? delimitersOf(from.map((i) => inputs[i]!)) : undefined,
    value,
    steps,
    form,
  }));
  return createHash('sha256')
    .update(canonicalJson([relevant, functions]))
    .digest('hex');
}

/** Undefined where all are commas. */
function delimitersOf(columns: readonly CatalogColumn[]): (string | undefined)[] | undefined {
  const delimiters = columns.map((column) => underDomain(column).delimiter);
  return delimiters.some((one) => one !== undefined) ? delimiters : undefined;
}

/** The length of a char(n) decides its blanks. */
function typeOf(column: CatalogColumn): string {
  return underDomain(column).typeName === 'bpchar' ? underDomain(column).type : column.baseType;
}
