/**
 * The reverse direction as a migration file of its own: target → source, made of the forward one. Guarantee: pure; reader, sink and
 * verify run the file unchanged; a table is in it only if each row of the target has one well-defined row on the source, and for
 * each table that is not, or not whole, the report says which columns are lost and why. A column that is lost stays as it is on a row that
 * the source has, and is the source's default on a new one.
 */
import type { MigrationFile, PipelineSettings, TableEntry } from '#schemas/config/migration-file.ts';
import type { Catalog } from '#schemas/table.ts';
import { asNamed, standing } from '../renames.ts';
import { compileMapping } from '../compile-mapping.ts';
import { pairId, tableId, type CompiledMapping, type TableMapping } from '../compiled-mapping.ts';
import { FindingList } from '../finding-list.ts';
import type { LostColumn } from '../inverse/invert-table.ts';
import { resolveTables } from '../resolve-tables.ts';
import { showTable } from '../table-pattern.ts';
import { typeWorld } from '../type-fit.ts';
import { reverseEntry } from './reverse-entry.ts';
import { reverseName } from './reverse-name.ts';

/** One pair of the forward mapping. */
export interface ReverseTable {
  /** Table of the source, as in the file. */
  readonly from: string;
  readonly to: string;
  /** `partial`: it goes back but for the columns lost. `one-way`: nothing of it does. `none`: the file says so. */
  readonly kind: 'reversible' | 'partial' | 'one-way' | 'none';
  /** Of one that is one-way. */
  readonly why?: string;
  readonly remedy?: string;
  readonly lost: readonly LostColumn[];
  /** Place in the file. */
  readonly line: number;
  readonly column: number;
}

export interface ReverseDerivation {
  /** Absent: nothing goes back. */
  readonly file?: MigrationFile;
  /** Of that file. */
  readonly mapping?: CompiledMapping;
  readonly tables: readonly ReverseTable[];
  /** Why nothing of the whole migration goes back. */
  readonly why?: string;
}

export interface ReverseCatalogs {
  readonly source: Catalog;
  readonly target: Catalog;
}

/** Why there is no reverse direction whatever the tables are; undefined: there may be one. */
export function whyNoReverse(file: MigrationFile): string | undefined {
  if (file.reverse === 'off') return 'the file says `reverse: off`';
  if (file.targets !== undefined) return 'it has several targets, and only one of them could serve';
  if (file.target.postgres === undefined) return 'the target is Redis, whose changes cannot be followed';
  return undefined;
}

/** `forward`: the forward mapping, compiled from `file` and the same catalogues. */
export function deriveReverse(file: MigrationFile, forward: CompiledMapping, catalogs: ReverseCatalogs): ReverseDerivation {
  const mapping = asNamed(forward);
  const why = whyNoReverse(file);
  if (why !== undefined) return { tables: [], why };
  const written = new Map(
    resolveTables(file, catalogs.source, catalogs.target, new FindingList(file.path)).map((one) => [
      pairId({ from: one.source, to: one.to }),
      one.written,
    ]),
  );
  const candidates = mapping.tables.map((table) => candidateOf(table, written.get(pairId(table))!, { file, mapping, catalogs }));
  const entries = candidates.flatMap(({ entry }) => entry ?? []);
  const tables = candidates.map(({ report }) => report);
  if (entries.length === 0) return { tables, why: 'none of its tables goes back' };
  const reverse = fileOf(file, entries, catalogs);
  const compiled = compileMapping(reverse, catalogs.target, catalogs.source);
  if (compiled.mapping !== undefined) {
    return { file: reverse, mapping: standing(compiled.mapping, forward.renamed?.renames ?? [], forward.renamed !== undefined), tables };
  }
  // Each by itself is right: it is what they are together that is not.
  const first = compiled.findings.find(({ severity }) => severity === 'error');
  return { tables, why: first?.message ?? 'its tables do not go back together' };
}

interface Candidate {
  readonly entry?: TableEntry;
  readonly report: ReverseTable;
}

interface World {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  readonly catalogs: ReverseCatalogs;
}

function candidateOf(table: TableMapping, written: TableEntry, world: World): Candidate {
  const { line, column } = written.reverse ?? written;
  const about = { from: showTable(table.from), to: showTable(table.to), line, column };
  const oneWay = (why: string, remedy?: string): Candidate => ({
    report: { ...about, kind: 'one-way', why, lost: [], ...(remedy !== undefined && { remedy }) },
  });
  if (written.reverse?.mode === 'none') return { report: { ...about, kind: 'none', lost: [] } };
  const shape = shapeOf(table, world);
  if (shape !== undefined) return oneWay(shape);
  const { catalogs, file } = world;
  const source = catalogs.source.tables.find((one) => tableId(one) === tableId(table.from))!;
  const target = catalogs.target.tables.find((one) => tableId(one) === tableId(table.to))!;
  const made = reverseEntry({ table, written, source, target, world: typeWorld(catalogs.target, catalogs.source) });
  if ('why' in made) return oneWay(made.why);
  const { findings } = compileMapping(fileOf(file, [made.entry], catalogs), catalogs.target, catalogs.source);
  const wrong = findings.find(({ severity }) => severity === 'error');
  if (wrong !== undefined) return oneWay(otherSides(wrong.message), wrong.remedy === undefined ? undefined : otherSides(wrong.remedy));
  return { entry: made.entry, report: { ...about, kind: made.lost.length === 0 ? 'reversible' : 'partial', lost: made.lost } };
}

/** In the reverse file they are the other way round. */
export function otherSides(text: string): string {
  // Not in names, which stand in quotes.
  return text.replaceAll(/(?<!["']|\w\.)\b(source|target)\b(?!["']|\.\w)/g, (side) => (side === 'source' ? 'target' : 'source'));
}

/** What is not built yet, or cannot be. */
function shapeOf(table: TableMapping, { mapping }: World): string | undefined {
  const others = mapping.tables.filter((one) => one !== table && tableId(one.from) === tableId(table.from));
  if (table.explode !== undefined) return 'its rows are elements of an array';
  if (table.share !== undefined) return "its rows are told from others by a constant of the target's key, by which the way back finds none";
  if (table.columns.some(({ keyMap }) => keyMap !== undefined)) return 'its rows have ids that the target gave them';
  if (others.length > 0) return `rows of ${showTable(table.from)} go to several tables`;
  if (table.sourceKey.length === 0) return 'it has no key';
  if (table.deletes === 'ignore') return 'rows that the source deleted stay on the target, and would come back';
  return undefined;
}

function fileOf(file: MigrationFile, tables: readonly TableEntry[], catalogs: ReverseCatalogs): MigrationFile {
  return {
    path: file.path,
    name: reverseName(file.name),
    source: { postgres: file.target.postgres! },
    target: { postgres: file.source.postgres },
    tables,
    settings: settingsOf(file.settings, catalogs.target),
    ...(file.functions !== undefined && { functions: file.functions }),
    // Names that its tables bear by turns.
    ...(file.cutover?.strategy !== undefined && { cutover: file.cutover }),
  };
}

/** Servers from which a slot can be kept by standbys. */
export const FAILOVER_SLOTS_FROM = 170_000;

/** The reverse direction has a log on the disk of the instance, and nothing compares it by itself. */
function settingsOf({ log, slot, reconcile, ...same }: PipelineSettings, { serverVersion }: Catalog): PipelineSettings {
  const { stream: _stream, ...compared } = reconcile;
  return {
    ...same,
    slot: { ...slot, failover: slot.failover && serverVersion >= FAILOVER_SLOTS_FROM },
    reconcile: { ...compared, enabled: false },
    log: { retainBytes: log.retainBytes },
  };
}
