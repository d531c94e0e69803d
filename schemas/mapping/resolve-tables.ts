/**
 * Which source table goes to which target tables. Guarantee: every entry of the file matches at least one table or is reported; a name
 * beats a glob, a narrower glob a wider one; entries that name one table each send it to a target of their own, and any other tie is an
 * error. Whether source tables may share a target is for share.ts to say.
 */
import type { MigrationFile, TableEntry } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import type { Catalog, CatalogTable } from '../table.ts';
import { pairId, tableId } from './compiled-mapping.ts';
import type { FindingList } from './finding-list.ts';
import { didYouMeanTable } from './suggest-table.ts';
import { withSurrogate } from './surrogate-entry.ts';
import { waveTables } from './wave-tables.ts';
import {
  fillPattern,
  isGlob,
  matchesTable,
  nameHasGlob,
  parseTablePattern,
  showTable,
  specificity,
  type NamePattern,
} from './table-pattern.ts';

export interface ResolvedTable {
  /** What the file says of this table, with what `key` makes of its columns, and its wave of the rows. */
  readonly entry: TableEntry;
  /** As it stands in the file, for all the tables that it matches. */
  readonly written: TableEntry;
  readonly source: CatalogTable;
  readonly to: { readonly schema: string; readonly name: string };
  /** Undefined: the target has no such table (reported here). */
  readonly target?: CatalogTable;
}

/** Specificity of a pattern without a glob. */
const BY_NAME = 3;

interface Claim {
  readonly entry: TableEntry;
  readonly rank: number;
  readonly to: NamePattern | undefined;
}

export function resolveTables(file: MigrationFile, source: Catalog, target: Catalog, list: FindingList): ResolvedTable[] {
  const claims = new Map<CatalogTable, readonly Claim[]>();
  for (const entry of file.tables) claimTables(entry, source, claims, list);
  const targets = new Map(target.tables.map((table) => [tableId(table), table]));
  const taken = new Set<string>();
  const resolved: ResolvedTable[] = [];
  for (const table of source.tables) {
    const own = claims.get(table) ?? [];
    for (const claim of own) {
      const to = targetName(claim.to, table);
      const pair = pairId({ from: table, to });
      if (taken.has(pair)) {
        const place = claim.entry.toPlace ?? claim.entry;
        list.error('CF-4001', `${showTable(table)} goes to ${showTable(to)} twice`, place, 'Write it in one entry.');
        continue;
      }
      taken.add(pair);
      const found = targets.get(tableId(to));
      if (found === undefined) reportMissingTarget(claim, to, target, list);
      const counterpart = found !== undefined && { target: found };
      const entry = withSurrogate({ entry: claim.entry, source: table, ...counterpart });
      resolved.push({ entry, written: claim.entry, source: table, to, ...counterpart });
    }
  }
  return file.wave === undefined ? resolved : waveTables(file.wave, resolved, list);
}

function targetName(to: NamePattern | undefined, table: CatalogTable): ResolvedTable['to'] {
  return to === undefined ? { schema: table.schema, name: table.name } : fillPattern(to, table);
}

function claimTables(entry: TableEntry, source: Catalog, claims: Map<CatalogTable, readonly Claim[]>, list: FindingList): void {
  const from = parsePattern(entry.from, entry, list);
  const to = entry.to === undefined ? undefined : parsePattern(entry.to, entry.toPlace ?? entry, list);
  const exclude = entry.exclude.map((text) => parsePattern(text, entry, list)).filter((pattern) => pattern !== undefined);
  if (from === undefined || (entry.to !== undefined && to === undefined)) return;
  const rank = specificity(from);
  const matching = source.tables.filter((table) => matchesTable(from, table) && (rank === BY_NAME || table.extension === undefined));
  if (matching.length === 0) {
    reportUnmatched(from, entry, source, list);
    return;
  }
  for (const pattern of exclude) {
    if (!isGlob(pattern) && !matching.some((table) => matchesTable(pattern, table))) {
      list.error(
        'CF-1008',
        `exclude names ${showTable(pattern)}, which ${entry.from} does not match${didYouMeanTable(pattern, matching)}`,
        entry,
      );
    }
  }
  const chosen = matching.filter((table) => !exclude.some((pattern) => matchesTable(pattern, table)));
  if (to !== undefined && !nameHasGlob(to) && chosen.length > 1) {
    const remedy = "Use * in the table part of `to`; it stands for the source table's own name.";
    list.error(
      'CF-4001',
      `${entry.from} matches ${chosen.length} tables, but \`to\` names one: ${entry.to}`,
      entry.toPlace ?? entry,
      remedy,
    );
    return;
  }
  for (const table of chosen) {
    const others = claims.get(table) ?? [];
    const claim = { entry, rank, to };
    const other = others[0];
    if (other === undefined || rank > other.rank) claims.set(table, [claim]);
    else if (rank === other.rank && rank === BY_NAME) claims.set(table, [...others, claim]);
    else if (rank === other.rank) reportTie(table, other.entry, entry, list);
  }
}

function parsePattern(
  text: string,
  place: { readonly line?: number; readonly column?: number },
  list: FindingList,
): NamePattern | undefined {
  const pattern = parseTablePattern(text);
  if (pattern === undefined) {
    list.error('CF-1004', `"${text}" is not a table name; expected schema.table, for example public.orders or public.*`, place);
  }
  return pattern;
}

function reportTie(table: CatalogTable, first: TableEntry, second: TableEntry, list: FindingList): void {
  list.error(
    'CF-4001',
    `${showTable(table)} is matched twice: by ${first.from} (line ${first.line}) and by ${second.from} (line ${second.line})`,
    second,
    'Name the table in one entry of its own, or exclude it from one of the two.',
  );
}

function reportUnmatched(from: NamePattern, entry: TableEntry, source: Catalog, list: FindingList): void {
  const shown = entry.from;
  const leafOf = source.tables.find((table) => table.leaves.some((leaf) => matchesTable(from, leaf)));
  const oddity = source.oddities.find((one) => one.kind !== 'rule' && one.kind !== 'unlogged-table' && matchesTable(from, one));
  if (leafOf !== undefined) {
    list.error(
      'CF-4001',
      `${shown} is a partition of ${showTable(leafOf)}`,
      entry,
      `Write \`from: ${showTable(leafOf)}\`: a partitioned table moves as a whole.`,
    );
  } else if (oddity !== undefined && !isGlob(from)) {
    list.error('CF-4001', `${shown} is a ${oddity.kind.replace('-', ' ')}; only tables can be moved`, entry, 'Remove the entry.');
  } else if (!source.schemas.includes(from.schema) && !(from.schema.includes('*') && !from.schemaQuoted)) {
    list.error('CF-1008', `the source has no schema "${from.schema}"${didYouMean(from.schema, source.schemas)}`, entry);
  } else {
    const what = isGlob(from) ? `no table of the source matches ${shown}` : `the source has no table ${shown}`;
    list.error('CF-1008', what + didYouMeanTable(from, source.tables), entry);
  }
}

function reportMissingTarget(
  claim: Claim,
  to: { readonly schema: string; readonly name: string },
  target: Catalog,
  list: FindingList,
): void {
  const leafOf = target.tables.find((table) => table.leaves.some((leaf) => tableId(leaf) === tableId(to)));
  const remedy = 'Create it with your schema migration tool; `crossfade check --ddl` prints a CREATE TABLE for it.';
  const place = claim.entry.toPlace ?? claim.entry;
  if (leafOf !== undefined) {
    list.error('CF-4001', `${showTable(to)} is a partition on the target`, place, `Write \`to: ${showTable(leafOf)}\`.`);
    return;
  }
  const near = claim.to !== undefined && !isGlob(claim.to) ? didYouMeanTable(to, target.tables) : '';
  list.error('CF-1008', `the target has no table ${showTable(to)}${near}`, place, remedy);
}
