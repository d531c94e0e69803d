/**
 * `explode:` of one entry: an array column whose elements become rows. Guarantee: without a finding, every row of the target is found by its
 * parent's key, is told from its siblings by a unique key of the target, and is a function of the parent's row alone; every value either
 * passes as text that the target's type reads without loss, or by a cast that the file declares.
 */
import type { ColumnEntry, ExplodeEntry, ExplodePart } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import { identityColumns, quoteIdent, quoteTable, type CatalogColumn, type CatalogTable } from '../table.ts';
import { compileCast } from './compile-cast.ts';
import { checkUnfed, entryOf, findTarget, mapColumn, decides, type ColumnContext, type CompiledColumns } from './compile-columns.ts';
import { type ArrayKind, type ColumnCast, type ColumnMapping, type Explode, type ExplodedPart } from './compiled-mapping.ts';
import { isGlob, parseTablePattern, showTable } from './table-pattern.ts';
import { fitTypes, underDomain } from './type-fit.ts';

export interface ExplodedColumns extends CompiledColumns {
  /** Undefined: reported. */
  readonly explode: Explode | undefined;
}

type Context = ColumnContext & { readonly entry: ExplodeEntry };

/** The parent's key and the array as columns; what the elements feed besides. */
export function compileExploded(given: ColumnContext, entry: ExplodeEntry): ExplodedColumns {
  const context = { ...given, entry };
  const { source, target } = context.resolved;
  if (!checkEntry(context)) return { columns: [], dropped: [], explode: undefined };
  const found = findArray(context);
  const key = new Set(identityColumns(source));
  const fed = new Map<string, string>();
  const columns: ColumnMapping[] = [];
  const dropped: string[] = [];
  for (const column of source.columns) {
    if (column.name === entry.array) continue;
    const own = entryOf(context, column.name);
    if (!key.has(column.name)) {
      checkLeftOut(column, own, context);
      dropped.push(column.name);
      continue;
    }
    const to = own?.drop === true ? undefined : findTarget(column, own, context);
    const mapped = to && mapColumn(column, to, own, context);
    if (to === undefined || mapped === undefined) continue;
    claim(fed, to.name, `"${column.name}"`, context);
    columns.push(mapped);
  }
  const parts = entry.parts.flatMap((part) => compilePart(part, { context, found, fed }) ?? []);
  const ordinal = compileOrdinal(context, fed);
  // What could not go to a column is told as that.
  const meant = new Set([...fed.keys(), ...entry.parts.map((part) => part.to), entry.ordinal?.to]);
  for (const column of target.columns) if (!meant.has(column.name)) checkUnfed(column, context);
  if (found === undefined) return { columns, dropped, explode: undefined };
  const pseudo = arrayColumn(found, target);
  const explode = { array: found.kind, name: entry.array, parts, ...(ordinal !== undefined && { ordinal }), key: [] };
  return { columns: [...columns, pseudo], dropped, explode };
}

/** What has no meaning beside it, or is not built. @returns false where nothing more can be said. */
function checkEntry({ resolved, entry, list }: Context): boolean {
  const { entry: table, source } = resolved;
  const from = parseTablePattern(table.from);
  if (from !== undefined && isGlob(from))
    list.error('CF-4001', `\`explode\` takes one table apart, and ${table.from} may be several`, entry, 'Name the table.');
  if (identityColumns(source) === undefined) {
    const remedy = `Run on the source: ALTER TABLE ${quoteTable(source)} ADD PRIMARY KEY (…);`;
    list.error(
      'CF-4001',
      `${showTable(source)} has no key, so the rows that "${entry.array}" becomes could not be found again`,
      entry,
      remedy,
    );
  }
  const [set] = Object.values(table.set ?? {});
  if (set !== undefined) {
    const remedy = "Take it out: the columns are the parent's key and what `explode` names. A constant can be the column's default.";
    list.error('CF-4001', '`set` beside `explode` is not built yet', set, remedy);
  }
  if (table.deletes !== undefined || table.truncates !== undefined) {
    const remedy = 'Write `orphans: delete` or `orphans: keep` under `explode`.';
    list.error(
      'CF-4001',
      'what becomes of children is said by `orphans`, not by `deletes` and `truncates`',
      table.deletes ?? table,
      remedy,
    );
  }
  return identityColumns(source) !== undefined;
}

/** Only keys go to children; the rest is for other entries. */
function checkLeftOut(column: CatalogColumn, own: ColumnEntry | undefined, { resolved, siblings, list }: Context): void {
  const { source, entry: table } = resolved;
  if (own?.drop === true || column.generated !== '') return;
  if (own !== undefined) {
    const remedy = 'Under `columns` rename the columns of the key only; send the others elsewhere by an entry of their own.';
    list.error(
      'CF-4001',
      `"${column.name}" is no key column of ${showTable(source)}, and only those go beside what \`explode\` names`,
      own,
      remedy,
    );
  } else if (table.unmapped === 'error' && !siblings.some((one) => decides(one, column.name))) {
    const remedy = `Give the table an entry that takes it, or write \`drop: [${column.name}]\`; \`unmapped: ignore\` leaves out all such columns.`;
    list.error(
      'CF-4001',
      `column "${column.name}" of ${showTable(source)} goes nowhere: this entry takes "${resolved.entry.explode!.array}" only`,
      table,
      remedy,
    );
  }
}

interface FoundArray {
  readonly column: CatalogColumn;
  readonly kind: ArrayKind;
}

function findArray({ resolved, entry, list }: Context): FoundArray | undefined {
  const { source } = resolved;
  const column = source.columns.find(({ name }) => name === entry.array);
  if (column === undefined) {
    const near = didYouMean(
      entry.array,
      source.columns.map(({ name }) => name),
    );
    list.error('CF-1008', `${showTable(source)} of the source has no column "${entry.array}"${near}`, entry);
    return undefined;
  }
  const about = `column "${entry.array}" of ${showTable(source)}`;
  const own = Object.hasOwn(resolved.entry.columns, column.name) ? resolved.entry.columns[column.name] : undefined;
  if (own !== undefined)
    list.error('CF-4001', `${about} is taken apart by \`explode\`, so nothing else can be said of it in this entry`, own);
  if (column.generated !== '')
    list.error('CF-4001', `${about} is generated, so its changes are not in the stream`, entry, 'Take a column that is not.');
  if (identityColumns(source)?.includes(column.name) === true)
    list.error('CF-4001', `${about} is part of the key, and cannot be taken apart`, entry, 'Take another column.');
  const kind = kindOf(column);
  if (kind === undefined)
    list.error('CF-4001', `${about} is ${column.type}: neither json, jsonb nor an array`, entry, 'Take another column.');
  else if (underDomain(column).delimiter !== undefined)
    list.error('CF-4001', `${about} is ${column.type}, whose elements are not parted by commas`, entry, 'Take another column.');
  return kind === undefined ? undefined : { column, kind };
}

function kindOf(column: CatalogColumn): ArrayKind | undefined {
  const { builtin, elementOid, typeName, baseType } = underDomain(column);
  if (elementOid !== 0) return baseType.endsWith('[]') ? 'array' : undefined;
  return builtin && (typeName === 'json' || typeName === 'jsonb') ? typeName : undefined;
}

/** Where the array stands among the columns: no column of the target, and no name that one has. */
function arrayColumn({ column, kind }: FoundArray, target: CatalogTable): ColumnMapping {
  let name = `${column.name}[]`;
  while (target.columns.some((one) => one.name === name)) name += '[]';
  const type = kind === 'array' ? 'text[]' : kind;
  return { target: name, targetType: type, targetBaseType: type, source: column };
}

function claim(fed: Map<string, string>, target: string, by: string, { resolved, list, entry }: Context): boolean {
  const other = fed.get(target);
  if (other === undefined) {
    fed.set(target, by);
    return true;
  }
  list.error(
    'CF-4001',
    `${other} and ${by} both go to "${target}" of ${showTable(resolved.target)}`,
    entry,
    'Give each a column of its own.',
  );
  return false;
}

interface PartContext {
  readonly context: Context;
  readonly found: FoundArray | undefined;
  readonly fed: Map<string, string>;
}

function compilePart(part: ExplodePart, { context, found, fed }: PartContext): ExplodedPart | undefined {
  const { list, resolved } = context;
  const about = part.field === undefined ? 'the element' : `field "${part.field}"`;
  const target = writable(part, about, context);
  if (part.field !== undefined && found?.kind === 'array') {
    const remedy = 'Write `element: TARGET`, or take a column of type json or jsonb.';
    list.error(
      'CF-4001',
      `${about}: elements of "${resolved.entry.explode!.array}" are ${elementOf(found.column).type}, which have no fields`,
      part,
      remedy,
    );
    return undefined;
  }
  const path = part.field === undefined ? undefined : pathOf(part.field);
  if (path === 'wrong') {
    list.error('CF-1004', `"${part.field}" is no JSON pointer; expected for example /address/town`, part);
    return undefined;
  }
  if (target === undefined || found === undefined || !claim(fed, target.name, about, context)) return undefined;
  const source = found.kind === 'array' ? elementOf(found.column) : textColumn(part.field ?? 'element');
  const cast = castOf(part, { source, target, isJson: found.kind !== 'array' }, context);
  if (cast === 'refused') return undefined;
  return {
    target: target.name,
    targetType: target.type,
    targetBaseType: underDomain(target).baseType,
    source,
    ...(path !== undefined && { path }),
    ...(cast !== undefined && { cast }),
  };
}

/** The target's column of that name, where it can be written. */
function writable(
  place: { readonly to: string; readonly line: number; readonly column: number },
  about: string,
  { resolved, list }: Context,
): CatalogColumn | undefined {
  const { target } = resolved;
  const found = target.columns.find(({ name }) => name === place.to);
  if (found === undefined) {
    const near = didYouMean(
      place.to,
      target.columns.map(({ name }) => name),
    );
    list.error('CF-1008', `${about}: ${showTable(target)} of the target has no column "${place.to}"${near}`, place);
  } else if (found.generated !== '' || found.identity === 'a') {
    const why = found.generated === '' ? 'GENERATED ALWAYS AS IDENTITY' : 'generated';
    list.error('CF-4001', `${about}: column "${found.name}" of ${showTable(target)} is ${why} and cannot be written`, place);
    return undefined;
  }
  return found;
}

/** What PostgreSQL would take for an index, and RFC 6901 would not. */
const ODD_INDEX = /^\s*[-+]?\d+\s*$/;
const INDEX = /^(?:0|[1-9]\d{0,8})$/;

function pathOf(field: string): readonly string[] | 'wrong' {
  if (field.includes('\0')) return 'wrong';
  if (!field.startsWith('/')) return [field];
  const parts = field
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  return /~(?![01])/.test(field) || parts.some((part) => ODD_INDEX.test(part) && !INDEX.test(part)) ? 'wrong' : parts;
}

const TEXT_OID = 25;

/** What a field of a JSON value is before the target's type reads it. */
function textColumn(name: string): CatalogColumn {
  const text = { typeOid: TEXT_OID, typmod: -1, type: 'text', baseType: 'text', typtype: 'b', builtin: true, elementOid: 0 };
  return { name, ...text, notNull: false, generated: '', identity: '', hasDefault: false, typeLength: -1, typeName: 'text' };
}

/** An element of the array as a column. Of types that users made only the text is known. */
function elementOf(array: CatalogColumn): CatalogColumn {
  const plain = underDomain(array);
  if (!plain.builtin) return textColumn('element');
  const bare = (type: string): string => type.replace(/(?:\[\])+$/, '');
  return {
    ...textColumn('element'),
    typeOid: plain.elementOid,
    typmod: plain.typmod,
    type: bare(plain.type),
    baseType: bare(plain.baseType),
    ...(plain.typeName !== undefined && { typeName: plain.typeName.replace(/^_/, '') }),
  };
}

interface Fit {
  readonly source: CatalogColumn;
  readonly target: CatalogColumn;
  readonly isJson: boolean;
}

function castOf(part: ExplodePart, { source, target, isJson }: Fit, context: Context): ColumnCast | undefined | 'refused' {
  const { list, resolved } = context;
  const plain = underDomain(target);
  const about = `"${target.name}" of ${showTable(resolved.target)}`;
  if (!plain.builtin && plain.typtype !== 'e') {
    list.error(
      'CF-4001',
      `${about} is ${target.type}, a type of which \`explode\` makes no values`,
      part,
      'Change the type on the target, for example to text.',
    );
    return 'refused';
  }
  const entry = { to: part.to, ...(part.cast !== undefined && { cast: part.cast }), drop: false, line: part.line, column: part.column };
  if (part.cast !== undefined) return compileCast({ column: source, target, entry, context });
  const isText = isJson || !underDomain(resolved.source.columns.find(({ name }) => name === context.entry.array)!).builtin;
  const fit = isText ? fitText(plain, isJson) : fitTypes(source, target, context.world);
  if (fit.kind === 'same') return undefined;
  if (fit.kind === 'convert') return compileCast({ column: source, target, entry, context });
  const what = part.field === undefined ? 'the element' : `field "${part.field}"`;
  const place = part.field === undefined ? 'element' : part.field;
  const cast = /[,[\]{}"']/.test(target.type) ? `'${target.type}'` : target.type;
  list.error(
    'CF-4001',
    `${about} is ${target.type}, and ${what} is ${isJson ? 'JSON' : source.type}: ${fit.why}`,
    part,
    `Declare it: \`${place}: { to: ${part.to}, cast: ${cast} }\`, or change the type on the target.`,
  );
  return 'refused';
}

/** Types that read a text as it stands, or refuse it. */
const READS_TEXT: ReadonlySet<string> = new Set(['text', 'varchar', 'int2', 'int4', 'int8', 'bool', 'uuid']);

function fitText(plain: CatalogColumn, isJson: boolean): ReturnType<typeof fitTypes> {
  const { typtype, typeName = '', typmod, elementOid } = plain;
  if (typtype === 'e' || (elementOid === 0 && READS_TEXT.has(typeName))) return { kind: 'same' };
  if (elementOid === 0 && typeName === 'numeric' && typmod < 0) return { kind: 'same' };
  if (isJson && elementOid === 0 && (typeName === 'json' || typeName === 'jsonb')) return { kind: 'same' };
  return { kind: 'no', why: 'values may be lost or printed otherwise' };
}

const WHOLE: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'numeric']);

function compileOrdinal(context: Context, fed: Map<string, string>): Explode['ordinal'] {
  const { entry, list, resolved } = context;
  if (entry.ordinal === undefined) return undefined;
  const target = writable(entry.ordinal, 'the ordinal', context);
  if (target === undefined || !claim(fed, target.name, 'the ordinal', context)) return undefined;
  const plain = underDomain(target);
  if (!plain.builtin || plain.elementOid !== 0 || !WHOLE.has(plain.typeName ?? '')) {
    const remedy = 'Give it the type integer on the target.';
    list.error(
      'CF-4001',
      `"${target.name}" of ${showTable(resolved.target)} is ${target.type}; the ordinal is a whole number`,
      entry.ordinal,
      remedy,
    );
    return undefined;
  }
  return { target: target.name, targetType: target.type, targetBaseType: plain.baseType };
}

function warnOfScans(
  key: readonly string[],
  targetKey: readonly string[],
  { resolved, list }: Pick<ColumnContext, 'resolved' | 'list'>,
): void {
  const { target, entry } = resolved;
  const [own, parent] = [key, targetKey].map((columns) => columns.map(quoteIdent).join(', '));
  const message = `the key (${own}) of ${showTable(target)} does not begin with (${parent}), by which the rows of one parent are found`;
  const remedy = `Where no other index does, run on the target: CREATE INDEX ON ${quoteTable(target)} (${parent});`;
  list.warning('CF-4001', message, entry.explode ?? entry, remedy);
}

/** The mapping with the unique key of the target that tells one parent's children apart. Undefined: reported. */
export function childKey(explode: Explode, targetKey: readonly string[], { resolved, list }: ColumnContext): Explode | undefined {
  const { target, entry } = resolved;
  const { parts, ordinal } = explode;
  const own = [...parts.map((part) => part.target), ...(ordinal === undefined ? [] : [ordinal.target])];
  const keys = [...(target.primaryKey === undefined ? [] : [target.primaryKey]), ...target.uniqueKeys];
  for (const { columns, inexact } of keys) {
    const key = columns.filter((name) => !targetKey.includes(name));
    if (inexact === true || key.length === 0 || key.length + targetKey.length !== columns.length) continue;
    if (!key.every((name) => own.includes(name))) continue;
    if (!columns.slice(0, targetKey.length).every((name) => targetKey.includes(name))) warnOfScans(columns, targetKey, { resolved, list });
    return { ...explode, key };
  }
  const wanted = [...targetKey, ordinal?.target ?? own[0] ?? '…'].map(quoteIdent).join(', ');
  const message = `${showTable(target)} has no unique NOT NULL key of (${targetKey.join(', ')}) and what tells the elements of "${explode.name}" apart (of ${own.join(', ') || 'none'})`;
  const remedy = `Run on the target: ALTER TABLE ${quoteTable(target)} ADD PRIMARY KEY (${wanted});`;
  list.error('CF-4001', message, entry.explode ?? entry, remedy);
  return undefined;
}
