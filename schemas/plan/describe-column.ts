/**
 * One target column of the plan. Guarantee: the conversion is what the compiled mapping does, and what it may lose is said; personal data
 * that no step masks is told as such.
 */
import type { SetEntry } from '../config/migration-file.ts';
import type { StepName } from '../config/step-schema.ts';
import { isComputed, type ColumnMapping, type TableMapping } from '../mapping/compiled-mapping.ts';
import type { KeyMapColumn } from '../mapping/key-map.ts';
import { losslessCast } from '../mapping/lossless-cast.ts';
import { likelyPersonal } from '../mapping/personal-kind.ts';
import type { ResolvedTable } from '../mapping/resolve-tables.ts';
import { stepName } from '../mapping/steps/build-step.ts';
import { fitTypes, type TypeWorld } from '../mapping/type-fit.ts';
import type { CatalogColumn } from '../table.ts';
import { describeStep, type StepWords } from './describe-steps.ts';
import type { PlanColumn, PlanPersonal } from './plan-document.ts';

export interface ColumnInput {
  readonly table: TableMapping;
  readonly resolved: ResolvedTable;
  readonly world: TypeWorld;
}

export function describeColumns({ table, resolved, world }: ColumnInput): PlanColumn[] {
  const direct = table.columns.filter((_, i) => !isComputed(table.steps, i));
  const passed = direct.map((column) => describeDirect(column, { table, resolved, world }));
  // What arrives whole in one column is not lost by another that is made of it.
  const whole = new Set(
    passed.flatMap(({ from, lossy, irreversible }) => (lossy.length + irreversible.length === 0 ? [from[0]!.column] : [])),
  );
  const computed = (table.steps?.computed ?? []).map(({ target, from }) => {
    const inputs = from.map((i) => table.steps!.inputs[i]!);
    const { targetType } = table.columns.find((column) => column.target === target)!;
    return describeComputed({ target, targetType, inputs, whole, entry: resolved.entry.set![target]!, tableName: resolved.source.name });
  });
  return [...passed, ...computed];
}

function describeDirect({ source, target, targetType, cast, keyMap }: ColumnMapping, { resolved, world }: ColumnInput): PlanColumn {
  const column = resolved.target?.columns.find(({ name }) => name === target);
  const entry = resolved.entry.columns[source.name];
  const fit = column === undefined ? undefined : fitTypes(source, column, world);
  const loss =
    column === undefined || fit?.kind !== 'no' || keyMap !== undefined
      ? undefined
      : lossOf(source, column, { zone: entry?.zone, why: fit.why, world });
  const kind = likelyPersonal(source, resolved.source.name);
  return {
    target,
    type: targetType,
    from: [{ column: source.name, type: source.type }],
    conversion: [
      ...(source.name === target ? [] : ['renamed']),
      keyMap === undefined
        ? conversionOf(source, targetType, {
            zone: entry?.zone,
            isCast: cast !== undefined || fit?.kind === 'no',
            kept: fit?.kind === 'convert',
          })
        : idOf(keyMap, Object.hasOwn(resolved.entry.refs ?? {}, source.name)),
    ],
    lossy: loss === undefined ? [] : [loss],
    irreversible: [],
    ...(kind !== undefined && { personal: personalKey(kind, keyMap !== undefined) }),
  };
}

/** A key stays readable in the map. */
function personalKey(kind: string, isMapped: boolean): PlanPersonal {
  return { kind, treatment: isMapped ? 'becomes an id; crossfade.key_map on the target keeps it' : 'moves as it is', inClear: true };
}

function idOf({ own, domain }: KeyMapColumn, isSaid: boolean): string {
  if (own) return 'becomes an id that the target gives; crossfade.key_map keeps which';
  return `becomes the id of the ${domain} that it names, ${isSaid ? 'as the file says' : 'as a foreign key says'}`;
}

interface Conversion {
  readonly zone: string | undefined;
  readonly isCast: boolean;
  readonly kept: boolean;
}

function conversionOf(source: CatalogColumn, type: string, { zone, isCast, kept }: Conversion): string {
  if (zone !== undefined) {
    return source.baseType.endsWith('without time zone')
      ? `local time of ${zone} becomes a moment`
      : `moment becomes local time of ${zone}`;
  }
  if (kept) return `cast ${source.type} → ${type}: every value kept, written otherwise`;
  if (isCast) return `cast ${source.type} → ${type}, as PostgreSQL casts`;
  return source.type === type ? 'as it is' : `as it is, ${source.type} into ${type}`;
}

function lossOf(
  source: CatalogColumn,
  target: CatalogColumn,
  { zone, why, world }: { readonly zone: string | undefined; readonly why: string; readonly world: TypeWorld },
): string | undefined {
  if (zone !== undefined) return 'of the hours that the clocks show twice or leave out, PostgreSQL chooses the moment';
  return losslessCast(source, target, world) === undefined ? why : undefined;
}

interface ComputedInput {
  readonly target: string;
  readonly targetType: string;
  readonly inputs: readonly CatalogColumn[];
  readonly whole: ReadonlySet<string>;
  readonly entry: SetEntry;
  readonly tableName: string;
}

function describeComputed({ target, targetType, inputs, whole, entry, tableName }: ComputedInput): PlanColumn {
  const steps = stepsOf(entry);
  const isDerived = inputs.every(({ name }) => whole.has(name));
  const personal = personalOf(inputs, entry, tableName);
  return {
    target,
    type: targetType,
    from: inputs.map(({ name, type }) => ({ column: name, type })),
    conversion: conversionWords(entry),
    lossy: isDerived ? [] : steps.flatMap(({ lossy }) => lossy ?? []),
    irreversible: isDerived ? [] : steps.flatMap(({ irreversible }) => irreversible ?? []),
    ...(personal !== undefined && { personal }),
  };
}

/** What is done with the columns that it names. */
export function conversionWords(entry: SetEntry): string[] {
  if (entry.from.length === 0) return [constantOf(entry)];
  return entry.steps.length === 0 ? ['copied'] : stepsOf(entry).map(({ words }) => words);
}

function stepsOf({ steps, from }: SetEntry): StepWords[] {
  return steps.map((step) => describeStep(step, from.length));
}

function constantOf({ value, fromEnvironment }: SetEntry): string {
  if (fromEnvironment === true) return 'the same for every row, from the environment';
  return value === null || value === undefined ? 'null in every row' : `${JSON.stringify(value)} in every row`;
}

const MASKING: ReadonlySet<StepName> = new Set<StepName>(['hash', 'hmac', 'mask', 'tokenise']);

function personalOf(inputs: readonly CatalogColumn[], { steps }: SetEntry, table: string): PlanPersonal | undefined {
  const kinds = new Set(inputs.flatMap((column) => likelyPersonal(column, table) ?? []));
  if (kinds.size === 0) return undefined;
  const mask = steps.map(({ step }) => stepName(step)).find((name) => MASKING.has(name));
  const treatment =
    mask !== undefined ? `masked by the step ${mask}` : steps.length === 0 ? 'moves as it is' : 'computed by steps that do not mask';
  return { kind: [...kinds].join(', '), treatment, inClear: mask === undefined };
}
