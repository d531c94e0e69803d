/**
 * The hash that later acts are bound to. Guarantee: equal for two files that do the same with the same tables (whatever their comments,
 * their order, or how many rows there are today); different as soon as a row's image differs, or a policy, or what is declared of a way back.
 */
import { createHash } from 'node:crypto';
import type { MigrationFile } from '../config/migration-file.ts';
import { asNamed } from '../mapping/renames.ts';
import { pairId, type CompiledMapping, type TableMapping } from '../mapping/compiled-mapping.ts';

const FORM = 1;

export function planHash(file: MigrationFile, mapping: CompiledMapping): string {
  const tables = asNamed(mapping)
    .tables.toSorted((a, b) => (pairId(a) < pairId(b) ? -1 : 1))
    .map(policiesOf);
  const meaning = {
    form: FORM,
    name: file.name,
    target: file.target.redis === undefined ? 'postgres' : 'redis',
    budgetBytes: file.settings.slot.budgetBytes,
    onBudget: file.settings.slot.onBudget,
    mapping: mapping.hash,
    reverse: file.reverse,
    schemaSteps: file.schemaSteps?.map(({ name, up, down, verify, transaction }) => ({ name, up, down, verify, transaction })),
    tables,
  };
  return createHash('sha256')
    .update(JSON.stringify(sortKeys(meaning)))
    .digest('hex');
}

/** Everything that is said of a table and does not make its rows, whatever later versions add; what makes them is in the mapping's hash. */
function policiesOf({ columns: _columns, steps: _steps, filter: _filter, dropped, onRowError, unmapped, ...rest }: TableMapping): object {
  return { ...rest, dropped: dropped.toSorted(), onRowError: onRowError ?? 'halt', unmapped: unmapped ?? 'error' };
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sortKeys(inner)]));
}
