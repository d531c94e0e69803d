/** `--table T`. Guarantee: a name that no table of the mapping has is refused with the nearest one, never ignored. */
import { PipelineError } from '#schemas/errors.ts';
import { bySource, tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { nearestName } from '#schemas/nearest-name.ts';

/** Undefined: no table was named. */
export function selectTables(typed: readonly string[], mapping: CompiledMapping): ((table: TableMapping) => boolean) | undefined {
  if (typed.length === 0) return undefined;
  const chosen = new Set(typed.flatMap((name) => intoOne(name, mapping) ?? findTables(name, mapping)));
  return (table) => chosen.has(table);
}

/** Those that go to the target of this name, where several source tables share it. */
function intoOne(typed: string, { tables }: CompiledMapping): readonly TableMapping[] | undefined {
  const into = tables.filter(({ to }) => shownName(to) === typed || to.name === typed);
  return into.length > 1 && new Set(into.map(({ to }) => tableId(to))).size === 1 ? into : undefined;
}

/** One of those that `findTables` gives: they have one source table. */
export function findTable(typed: string, mapping: CompiledMapping): TableMapping {
  return findTables(typed, mapping)[0]!;
}

/**
 * By source or target name; without a schema where that is not ambiguous. A source table's name means all targets that it goes to.
 * @throws PipelineError CF-1008
 */
function findTables(typed: string, mapping: CompiledMapping): readonly TableMapping[] {
  const matching = mapping.tables.filter((table) => namesOf(table).includes(typed));
  const sources = bySource(matching);
  if (sources.size === 1) return matching;
  if (matching.length > 1) {
    throw new PipelineError('CF-1007', `${typed} could be ${matching.map((table) => shownName(table.from)).join(' or ')}`, {
      remedy: 'Name one of them.',
    });
  }
  const nearest = nearestName(typed, mapping.tables.flatMap(namesOf));
  throw new PipelineError('CF-1008', `the migration has no table ${typed}`, {
    remedy:
      nearest === undefined
        ? `It has: ${mapping.tables
            .slice(0, 20)
            .map((table) => shownName(table.from))
            .join(', ')}`
        : `Did you mean ${nearest}?`,
  });
}

function namesOf(table: TableMapping): string[] {
  return [shownName(table.from), table.from.name, shownName(table.to), table.to.name];
}

function shownName({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${schema}.${name}`;
}
