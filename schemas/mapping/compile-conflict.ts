/**
 * `conflict:` of one table. Guarantee: without a finding, the row that a change leaves can be told from the one before it, and both from what somebody
 * else wrote: the source gives whole old rows, and a row of the target is one row of the source.
 */
import type { MigrationFile, TableEntry } from '../config/migration-file.ts';
import { listNames } from '../finding.ts';
import { didYouMean } from '../nearest-name.ts';
import { quoteTable, type CatalogTable } from '../table.ts';
import type { ConflictPolicy, TableMapping } from './compiled-mapping.ts';
import type { FindingList } from './finding-list.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { showTable } from './table-pattern.ts';

type Policies = Pick<TableMapping, 'conflict'>;

/** `table`: all else of it. Undefined: reported. */
export function compileConflict(table: TableMapping, resolved: ResolvedTable, list: FindingList): Policies | undefined {
  const { entry, source } = resolved;
  const { conflict } = entry;
  if (conflict === undefined) return {};
  const before = list.errorCount;
  const about = `\`conflict\` of ${showTable(source)}`;
  const unfit = unfitFor(table, entry);
  if (unfit !== undefined) list.error('CF-4001', `${about}: ${unfit}`, conflict, 'Take `conflict` out, or what stands against it.');
  checkOldRows(resolved, list);
  if (conflict.policy === 'newer-wins') checkVersion(table, conflict.version, resolved, list);
  return list.errorCount > before ? undefined : { conflict: policyOf(conflict) };
}

function policyOf(conflict: NonNullable<TableEntry['conflict']>): ConflictPolicy {
  return conflict.policy === 'newer-wins' ? { version: conflict.version } : conflict.policy;
}

/** Not built: rows that are not one row of the source, that come and go by a filter, or that stay behind their delete. */
function unfitFor({ targetKey, columns, explode, deletes, truncates, filter }: TableMapping, entry: TableEntry): string | undefined {
  if (targetKey.length === 0) return 'it has no key, so a row of the target cannot be held against a change';
  if (explode !== undefined) return 'its rows are made of an array';
  if (columns.some(({ keyMap }) => keyMap !== undefined)) return 'its keys are allocated on the target';
  if (deletes !== undefined || truncates === 'ignore') return 'rows that the source deletes stay';
  if (entry.onRowError !== undefined) return 'rows that are refused are set aside (`onRowError`)';
  if (filter !== undefined || entry.where !== undefined) return 'it is moved by a filter (`where`)';
  return undefined;
}

/** Each leaf has a setting of its own. */
function checkOldRows({ source, entry }: ResolvedTable, list: FindingList): void {
  const members = source.kind === 'p' ? source.leaves : [source];
  const lacking = members.filter(({ replicaIdentity }) => replicaIdentity !== 'f');
  if (lacking.length === 0) return;
  const message = `\`conflict\` of ${showTable(source)} needs the whole former row of each change, to tell what others wrote from what was there before`;
  const sql = lacking.map((member) => `ALTER TABLE ${quoteTable(member)} REPLICA IDENTITY FULL;`);
  list.error('CF-2008', message, entry.conflict!, `Run on the source: ${sql.join(' ')}`);
}

function checkVersion({ columns }: TableMapping, version: string, { to, entry }: ResolvedTable, list: FindingList): void {
  if (columns.some(({ target }) => target === version)) return;
  const near = didYouMean(
    version,
    columns.map(({ target }) => target),
  );
  list.error('CF-1008', `\`newer-wins\` names "${version}", which is no moved column of ${showTable(to)}${near}`, entry.conflict!);
}

/** Where the application writes both stores, a table without a policy is overwritten without a word. */
export function warnOfUncounted({ cutover }: Pick<MigrationFile, 'cutover'>, tables: readonly TableMapping[], list: FindingList): void {
  if (cutover?.strategy !== 'dual-write') return;
  const silent = tables.filter(({ conflict }) => conflict === undefined).map(({ from }) => showTable(from));
  if (silent.length === 0) return;
  const message = `what the application writes on the target otherwise than on the source is overwritten there, and not counted: ${listNames(silent, 5)}`;
  list.warning('CF-4001', message, {}, 'Say what is to stay under each table that the application writes: conflict: source-wins.');
}

/** Rows that several source tables feed are nobody's alone. */
export function refuseSharedConflicts(tables: readonly TableMapping[], resolved: readonly ResolvedTable[], list: FindingList): void {
  for (const { from, share, merge, conflict } of tables) {
    if (conflict === undefined || (share === undefined && merge === undefined)) continue;
    const one = resolved.find(
      ({ source }: { readonly source: CatalogTable }) => source.schema === from.schema && source.name === from.name,
    )!;
    list.error(
      'CF-4001',
      `\`conflict\` of ${showTable(from)}: it shares its target table with others, which is not built`,
      one.entry.conflict!,
    );
  }
}
