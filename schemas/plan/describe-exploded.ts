/** Columns of a table whose rows are elements of an array. Guarantee: each column that the children get stands there, with where it comes from. */
import type { ExplodedPart } from '../mapping/compiled-mapping.ts';
import { losslessCast } from '../mapping/lossless-cast.ts';
import { likelyPersonal } from '../mapping/personal-kind.ts';
import { fitTypes } from '../mapping/type-fit.ts';
import { describeColumns, type ColumnInput } from './describe-column.ts';
import type { PlanColumn } from './plan-document.ts';

export function describeChildren(input: ColumnInput): PlanColumn[] {
  const { table } = input;
  const { parts, ordinal } = table.explode!;
  const parent = describeColumns({ ...input, table: { ...table, columns: table.columns.slice(0, -1) } });
  const array = table.columns.at(-1)!.source;
  const from = [{ column: array.name, type: array.type }];
  const place = ordinal && {
    target: ordinal.target,
    type: ordinal.targetType,
    from,
    conversion: ["the element's place, from 1 on"],
    lossy: [],
    irreversible: [],
  };
  return [...parent, ...parts.map((part) => describePart(part, from, input)), ...(place === undefined ? [] : [place])];
}

function describePart(part: ExplodedPart, from: PlanColumn['from'], { resolved, world }: ColumnInput): PlanColumn {
  const { path, source, target, targetType, cast } = part;
  const column = resolved.target?.columns.find(({ name }) => name === target);
  const fit = column === undefined || cast === undefined ? undefined : fitTypes(source, column, world);
  const isLossy = column !== undefined && fit?.kind === 'no' && losslessCast(source, column, world) === undefined;
  const kind = likelyPersonal({ ...source, name: path?.at(-1) ?? target }, resolved.source.name);
  const what = path === undefined ? 'the element' : `${path.map((name) => JSON.stringify(name)).join(' in ')} of the element`;
  return {
    target,
    type: targetType,
    from,
    conversion: [what, cast === undefined ? `as it is, into ${targetType}` : `cast ${source.type} → ${targetType}, as PostgreSQL casts`],
    lossy: isLossy && fit?.kind === 'no' ? [fit.why] : [],
    irreversible: [],
    ...(kind !== undefined && { personal: { kind, treatment: 'moves as it is', inClear: true } }),
  };
}
