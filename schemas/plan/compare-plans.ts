/** What one plan does otherwise than another, in words. Guarantee: plans with the same hash differ in nothing that is told here. */
import type { PlanColumn, PlanDocument, PlanTable } from './plan-document.ts';

export function comparePlans(before: PlanDocument, after: PlanDocument): string[] {
  if (before.hash === after.hash) return [];
  const [old, now] = [byPair(before.tables), byPair(after.tables)];
  const lines = [
    ...(before.name === after.name ? [] : [`The migration is called ${after.name}, no longer ${before.name}: it starts anew.`]),
    ...[...old].filter(([pair]) => !now.has(pair)).map(([, { from, to }]) => `${from} no longer goes to ${to}.`),
    ...[...now].filter(([pair]) => !old.has(pair)).map(([, { from, to }]) => `${from} now goes to ${to}.`),
    ...[...now].flatMap(([pair, table]) => {
      const former = old.get(pair);
      return former === undefined ? [] : compareTables(former, table);
    }),
    ...(JSON.stringify(before.schemaSteps) === JSON.stringify(after.schemaSteps) ? [] : ['The schema steps on the target.']),
    ...(before.reverse === after.reverse ? [] : [`The way back: ${wayBackOf(after)}, was: ${wayBackOf(before)}.`]),
    ...(JSON.stringify(before.slot) === JSON.stringify(after.slot) ? [] : ['How much WAL the slot may hold back, or what then happens.']),
  ];
  return lines.length > 0
    ? lines
    : ['Something that this document does not spell out, such as a key of the environment or the text of a function.'];
}

function byPair(tables: readonly PlanTable[]): Map<string, PlanTable> {
  return new Map(tables.map((table) => [JSON.stringify([table.from, table.to]), table]));
}

function compareTables(before: PlanTable, after: PlanTable): string[] {
  const name = `${after.from} → ${after.to}`;
  const changed = (what: string, old: string, now: string): string[] => (old === now ? [] : [`${name}: ${what} is ${now}, was ${old}.`]);
  const [old, now] = [new Map(before.columns.map((one) => [one.target, one])), new Map(after.columns.map((one) => [one.target, one]))];
  return [
    ...changed('the key on the target', before.key.target.join(', '), after.key.target.join(', ')),
    ...changed('the filter', filterOf(before), filterOf(after)),
    ...(['existing', 'deletes', 'truncates', 'onRowError', 'unmapped'] as const).flatMap((policy) =>
      changed(policy, before.policies[policy], after.policies[policy]),
    ),
    ...changed('what becomes of conflicts', before.policies.conflict ?? 'not asked', after.policies.conflict ?? 'not asked'),
    ...changed('its form in Redis', JSON.stringify(before.redis ?? null), JSON.stringify(after.redis ?? null)),
    ...before.columns.filter(({ target }) => !now.has(target)).map(({ target }) => `${name}: nothing goes to "${target}" any more.`),
    ...after.columns.flatMap((column) => {
      const former = old.get(column.target);
      if (former === undefined) return [`${name}: "${column.target}" is fed, ${wordsOf(column)}.`];
      return changed(`"${column.target}"`, wordsOf(former), wordsOf(column));
    }),
    ...changed('what is not moved', dropsOf(before), dropsOf(after)),
    ...changed('its way back', reverseOf(before), reverseOf(after)),
  ];
}

function filterOf({ filter }: PlanTable): string {
  return filter.length === 0 ? 'none' : filter.toSorted().join(' and ');
}

function dropsOf({ dropped }: PlanTable): string {
  return dropped.length === 0 ? 'nothing' : dropped.map(({ column }) => column).join(', ');
}

function wayBackOf({ reverse }: PlanDocument): string {
  return reverse === 'off' ? 'none' : 'as each table says';
}

function reverseOf({ reverse }: PlanTable): string {
  if (reverse === undefined) return 'what follows from the mapping';
  if (reverse === 'none') return 'none';
  return reverse.map((one) => `"${one.column}" from ${wordsOf(one)}`).join('; ');
}

function wordsOf({ from, type, conversion }: Pick<PlanColumn, 'from' | 'type' | 'conversion'>): string {
  const sources = from.map((one) => `${one.column} (${one.type})`).join(', ');
  return `${sources === '' ? '' : `${sources} → `}${type}: ${conversion.join('; then ')}`;
}
