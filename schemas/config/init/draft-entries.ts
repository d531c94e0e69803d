/**
 * Entries of the first file before they are written down. Guarantee: what an entry declares loses nothing; everything else that the mapping
 * compiler says of the table stands with it as a question, so that an entry without questions passes `check`.
 */
import type { ColumnEntry, MigrationFile, TableEntry } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { likelyPersonal, maskingSteps } from '#schemas/mapping/personal-kind.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { TypeWorld } from '#schemas/mapping/type-fit.ts';
import { identityColumns, type Catalog, type CatalogColumn } from '#schemas/table.ts';
import { UNUSABLE_KEY } from '../yaml-source.ts';
import { candidatesFor } from './match-columns.ts';
import type { TableMatch, TableMatches } from './match-tables.ts';

export interface EntryDraft {
  readonly match: TableMatch;
  /** Entries that the file needs: renamed or cast. */
  readonly columns: readonly ColumnDraft[];
  readonly drops: readonly { readonly name: string; readonly why: string }[];
  readonly questions: readonly string[];
  readonly notes: readonly string[];
  readonly personal: readonly PersonalDraft[];
}

export interface ColumnDraft {
  readonly from: string;
  readonly to?: string;
  readonly cast?: string;
  readonly why: string;
}

export interface PersonalDraft {
  readonly target: string;
  readonly source: string;
  readonly kind: string;
  /** Absent: its type takes no masked text. */
  readonly steps?: string;
  /** It cannot be computed. */
  readonly isKey: boolean;
  readonly renamed: boolean;
}

/** In the order of the matches. `file` gives the entries something to stand in. */
export function draftEntries(matched: TableMatches, source: Catalog, target: Catalog, file: MigrationFile): readonly EntryDraft[] {
  const drafts = matched.matches.map((match) => draftEntry(match, matched.world));
  const tables = drafts.map((draft, i) => entryOf(draft, i));
  // Its place: the line is the draft's number, from 1.
  const byDraft = Map.groupBy(compileMapping({ ...file, tables }, source, target).findings, ({ line = 0 }) => line - 1);
  return drafts.map((draft, i) => withFindings(draft, byDraft.get(i) ?? []));
}

function withFindings(draft: EntryDraft, findings: readonly Finding[]): EntryDraft {
  const [errors, warnings] = [
    findings.filter(({ severity }) => severity === 'error'),
    findings.filter(({ severity }) => severity !== 'error'),
  ];
  return {
    ...draft,
    questions: [...draft.questions, ...errors.map(({ message, remedy }) => `${message}. ${remedy}`)],
    notes: [...draft.notes, ...warnings.map(({ message, remedy }) => `${message}. ${remedy}`)],
  };
}

function draftEntry(match: TableMatch, world: TypeWorld): EntryDraft {
  const { matches, left, unfed } = match.columns;
  const columns = matches
    .filter(({ reason, cast }) => reason !== undefined || cast !== undefined)
    .map(({ source, target, reason, cast }) => ({
      from: source.name,
      ...(reason !== undefined && { to: target.name }),
      ...(cast !== undefined && { cast: target.type }),
      why: [reason, cast === undefined ? undefined : `${source.type} → ${target.type}: ${cast}`]
        .filter((part) => part !== undefined)
        .join('; '),
    }));
  const computed = matches.filter(({ source, target }) => source.generated === '' && target.generated !== '');
  const open = left.filter((column) => column.generated === '');
  const unusable = columns.find(({ from }) => from === UNUSABLE_KEY);
  return {
    match,
    columns: columns.filter((column) => column !== unusable),
    drops: computed.map(({ source }) => ({ name: source.name, why: 'the target computes its own' })),
    questions: [
      ...(unusable === undefined ? [] : [askUnusable(unusable)]),
      ...open.map((column) => askAbout(column, match, candidatesFor(column, unfed, world))),
    ],
    notes: unfedNotes(unfed),
    personal: personalOf(match),
  };
}

function askAbout(column: CatalogColumn, { target }: TableMatch, candidates: readonly CatalogColumn[]): string {
  const name = JSON.stringify(column.name);
  if (column.name === UNUSABLE_KEY)
    return `${name} (${column.type}) has no column of that name in ${showTable(target)}, ${NO_KEY}. Rename it on its server, or write  drop: [${name}]`;
  const found = candidates.map((one) => `${JSON.stringify(one.name)} (${one.type})`).join(', ');
  const first = candidates[0];
  const rename = first === undefined ? 'columns: { … }' : `columns: { ${name}: ${JSON.stringify(first.name)} }`;
  const which = found === '' ? 'No column is left there that it could be.' : `Is it ${found}?`;
  return `${name} (${column.type}) has no column of that name in ${showTable(target)}. ${which} Write  ${rename}  or  drop: [${name}]`;
}

const NO_KEY = 'and no key of this file can be called so';

function askUnusable({ from, why }: ColumnDraft): string {
  const name = JSON.stringify(from);
  return `${name} needs a word (${why}), ${NO_KEY}. Rename it on its server, give both sides one name and type, or write  drop: [${name}]`;
}

function unfedNotes(unfed: readonly CatalogColumn[]): string[] {
  const told = unfed.filter(
    ({ generated, notNull, hasDefault, identity }) => generated === '' && (!notNull || hasDefault || identity !== ''),
  );
  if (told.length === 0) return [];
  const list = told.map((one) => `${JSON.stringify(one.name)} (${one.hasDefault || one.identity !== '' ? 'its default' : 'null'})`);
  return [`nothing goes to ${list.join(', ')} of the target`];
}

function personalOf({ source, columns }: TableMatch): PersonalDraft[] {
  const key = identityColumns(source) ?? [];
  return columns.matches.flatMap((match): PersonalDraft[] => {
    const kind = likelyPersonal(match.source, source.name);
    if (kind === undefined || match.target.generated !== '') return [];
    const steps = match.target.name === UNUSABLE_KEY ? undefined : maskingSteps(kind, match.source.name, match.target);
    return [
      {
        target: match.target.name,
        source: match.source.name,
        kind,
        ...(steps !== undefined && { steps }),
        isKey: key.includes(match.source.name),
        renamed: match.reason !== undefined || match.cast !== undefined,
      },
    ];
  });
}

/** As the compiler takes it. Columns that are asked about are left out here, so that it looks at the others. */
function entryOf({ match, columns, drops }: EntryDraft, index: number): TableEntry {
  const place = { line: index + 1, column: 1 };
  const declared = new Set(columns.map(({ from }) => from));
  const asked = match.columns.matches.filter(({ source, reason, cast }) => (reason ?? cast) !== undefined && !declared.has(source.name));
  const left = [...match.columns.left, ...asked.map(({ source }) => source)];
  const open = left.filter((column) => column.generated === '').map(({ name }) => name);
  const entries = [
    ...columns.map(({ from, to, cast }): [string, ColumnEntry] => [
      from,
      { ...(to !== undefined && { to }), ...(cast !== undefined && { cast }), drop: false, ...place },
    ]),
    ...[...open, ...drops.map(({ name }) => name)].map((name): [string, ColumnEntry] => [name, { drop: true, ...place }]),
  ];
  return {
    from: showTable(match.source),
    to: showTable(match.target),
    exclude: [],
    // Object.fromEntries defines: a column named __proto__ stays one.
    columns: Object.fromEntries(entries),
    unmapped: 'error',
    existing: 'refuse',
    ...place,
    toPlace: place,
  };
}
