/**
 * What the target's tables have beside rows, held against what the source's have, in the target's names. Guarantee: only what the mapping
 * carries over is expected (a table of its own, columns that pass as they are); a key that would let doubled rows in is an error, what
 * costs time or lets a wrong row in later is a warning. Columns and types are the mapping's own matter: it is refused where they do not fit.
 */
import { pairId, tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { Catalog, CatalogColumn, CatalogTable } from '#schemas/table.ts';
import { checkCondition } from './check-text.ts';
import { targetOf } from './foreign-keys.ts';
import type { MappedForeignKey } from './planned-check.ts';

export interface TableIndex {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly primary: boolean;
  readonly unique: boolean;
  /** Usable: neither half built nor failed. */
  readonly valid: boolean;
  /** Over an expression, or a part of the rows. */
  readonly special: boolean;
  readonly method: string;
  readonly columns: readonly string[];
}

export interface TableTrigger {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  /** It fires for what applications write. */
  readonly enabled: boolean;
}

export interface StructureFinding {
  readonly message: string;
}

export interface StructureIn {
  readonly tables: readonly TableMapping[];
  readonly source: Catalog;
  readonly target: Catalog;
  readonly foreignKeys: readonly MappedForeignKey[];
  readonly indexes: { readonly source: readonly TableIndex[]; readonly target: readonly TableIndex[] };
  /** Those that somebody made, but ours. */
  readonly triggers: { readonly source: readonly TableTrigger[]; readonly target: readonly TableTrigger[] };
}

/** By pair: an empty list where all that is expected is there. */
export function compareStructure(input: StructureIn): ReadonlyMap<string, readonly StructureFinding[]> {
  const ofTable = (catalog: Catalog, name: { readonly schema: string; readonly name: string }): CatalogTable | undefined =>
    catalog.tables.find((one) => tableId(one) === tableId(name));
  return new Map(
    input.tables.map((mapping) => {
      const [source, target] = [ofTable(input.source, mapping.from), ofTable(input.target, mapping.to)];
      const findings =
        source === undefined || target === undefined
          ? []
          : [...(isWhole(mapping) ? wholeFindings(mapping, input, { source, target }) : []), ...keyFindings(mapping, input.foreignKeys)];
      return [pairId(mapping), findings];
    }),
  );
}

/** A row of the target is a row of this source table. */
function isWhole({ share, merge, explode }: TableMapping): boolean {
  return share === undefined && merge === undefined && explode === undefined;
}

function wholeFindings(mapping: TableMapping, input: StructureIn, { source, target }: Pair): StructureFinding[] {
  return [
    ...indexFindings(mapping, input.indexes),
    ...columnFindings(mapping, source, target),
    ...checkFindings(mapping, source, target),
    ...triggerFindings(mapping, input.triggers),
  ];
}

interface Pair {
  readonly source: CatalogTable;
  readonly target: CatalogTable;
}

function indexFindings(mapping: TableMapping, { source, target }: StructureIn['indexes']): StructureFinding[] {
  const ofSource = source.filter((one) => one.schema === mapping.from.schema && one.table === mapping.from.name && one.valid);
  const own = ofSource.filter(({ special }) => !special);
  const there = target.filter((one) => one.schema === mapping.to.schema && one.table === mapping.to.name);
  const missing = own.flatMap((index): StructureFinding[] => {
    const columns = index.columns.map((name) => targetOf(mapping, name));
    if (columns.includes(undefined)) return [];
    const wanted = columns as string[];
    if (index.unique) {
      if (there.some((one) => one.unique && one.valid && !one.special && sameSet(one.columns, wanted))) return [];
      const what = index.primary ? 'primary key' : 'unique key';
      return [{ message: `the ${what} (${wanted.join(', ')}) is missing` }];
    }
    const served = there.some(
      (one) => one.valid && !one.special && one.method === index.method && wanted.every((name, i) => one.columns[i] === name),
    );
    return served ? [] : [{ message: `the index ${index.name} (${wanted.join(', ')}) is missing` }];
  });
  const broken = there.filter(({ valid }) => !valid).map(({ name }): StructureFinding => ({ message: `the index ${name} is not valid` }));
  return [...missing, ...specialFindings(mapping, ofSource, there), ...broken];
}

/** Of part of the rows, or over an expression: which part, and what expression, another one of the same columns is taken to know. */
function specialFindings(mapping: TableMapping, source: readonly TableIndex[], there: readonly TableIndex[]): StructureFinding[] {
  const taken = new Set<TableIndex>();
  return source.flatMap(({ unique, special, columns, name }): StructureFinding[] => {
    const wanted = columns.map((column) => targetOf(mapping, column));
    if (!unique || !special || wanted.includes(undefined)) return [];
    const guards = (one: TableIndex): boolean =>
      one.unique && one.valid && (one.special ? !taken.has(one) : columns.length > 0) && sameSet(one.columns, wanted as string[]);
    const found = there.find(guards);
    if (found === undefined) return [{ message: `the unique index ${name}, of a part of the rows or over an expression, is missing` }];
    taken.add(found);
    return [];
  });
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name) => other.includes(name));
}

function columnFindings(mapping: TableMapping, source: CatalogTable, target: CatalogTable): StructureFinding[] {
  const byName = new Map(target.columns.map((column) => [column.name, column]));
  return source.columns.flatMap((column): StructureFinding[] => {
    const name = targetOf(mapping, column.name);
    const there = name === undefined ? undefined : byName.get(name);
    if (name === undefined || there === undefined) return [];
    const found: StructureFinding[] = [];
    if (column.notNull && !there.notNull) found.push({ message: `column ${name} may be null` });
    if (numbersRows(column) && !numbersRows(there) && mapping.columns.find((one) => one.target === name)?.keyMap === undefined)
      found.push({
        message: `column ${name} has neither identity nor default: after the cut-over nothing gives it a value`,
      });
    else found.push(...defaultFindings(name, column, there));
    return found;
  });
}

function numbersRows({ identity, ownsSequence, defaultSql }: CatalogColumn): boolean {
  return identity !== '' || ownsSequence === true || defaultSql?.includes('nextval(') === true;
}

/** Of two defaults only values are compared: there are many ways to write an expression. */
function defaultFindings(name: string, source: CatalogColumn, target: CatalogColumn): StructureFinding[] {
  if (source.generated !== '' && target.generated === '')
    return [{ message: `column ${name} is not generated: after the cut-over nothing computes it` }];
  const [own, there] = [defaultText(source), defaultText(target)];
  if (own === undefined || numbersRows(source) || numbersRows(target) || target.generated !== '') return [];
  if (there === undefined) return [{ message: `column ${name} has no default, at the source ${source.defaultSql}` }];
  const [one, other] = [literalOf(own), literalOf(there)];
  if (one === undefined || other === undefined || one === other) return [];
  return [{ message: `the default of column ${name} is ${target.defaultSql}, at the source ${source.defaultSql}` }];
}

function defaultText({ defaultSql, generated }: CatalogColumn): string | undefined {
  if (defaultSql === undefined || generated !== '') return undefined;
  const { text } = checkCondition(defaultSql, new Map());
  return text === 'NULL' ? undefined : text;
}

/** Numbers are spelled by their column's type. */
function literalOf(text: string): string | undefined {
  if (/^-? ?\d+(?:\.\d+)?$/.test(text)) return String(Number(text.replace(' ', '')));
  if (/^'(?:[^']|'')*'$/s.test(text)) return /^'(?:true|false)'$/.test(text) ? text.slice(1, -1) : text;
  return /^(?:true|false)$/.test(text) ? text : undefined;
}

/** What applications rely on besides rows. Ours come and go with the fences. */
function triggerFindings({ from, to }: TableMapping, { source, target }: StructureIn['triggers']): StructureFinding[] {
  const there = new Map(target.filter((one) => one.schema === to.schema && one.table === to.name).map((one) => [one.name, one]));
  return source
    .filter((one) => one.schema === from.schema && one.table === from.name && one.enabled)
    .flatMap(({ name }): StructureFinding[] => {
      const found = there.get(name);
      if (found === undefined) return [{ message: `the trigger ${name} is missing` }];
      return found.enabled ? [] : [{ message: `the trigger ${name} is disabled` }];
    });
}

/** A check over a column that does not pass as it is, is none of the target's. */
function checkFindings(mapping: TableMapping, source: CatalogTable, target: CatalogTable): StructureFinding[] {
  const named = new Map(source.columns.map(({ name }) => [name, targetOf(mapping, name)]));
  const own = new Map(target.columns.map(({ name }) => [name, name]));
  const there = (target.checks ?? []).map(({ name, definition }) => ({ name, definition, ...checkCondition(definition, own) }));
  return (source.checks ?? []).flatMap(({ name, definition }): StructureFinding[] => {
    const wanted = checkCondition(definition, named);
    if (wanted.columns.some((column) => named.get(column) === undefined)) return [];
    const same = there.filter(({ text }) => text === wanted.text);
    const found = same.find((one) => one.isValid && one.isEnforced) ?? same[0] ?? there.find((one) => one.name === name);
    if (found === undefined) return [{ message: `the check ${name} is missing` }];
    if (found.text !== wanted.text && !isConverted(mapping, wanted.columns))
      return [{ message: `the check ${name} is ${found.definition}, at the source ${definition}` }];
    if (wanted.isEnforced && !found.isEnforced) return [{ message: `the check ${found.name} is not enforced` }];
    return wanted.isValid && !found.isValid ? [{ message: `the check ${found.name} is not validated` }] : [];
  });
}

/** Of such a column another condition may say the same. */
function isConverted({ columns }: TableMapping, names: readonly string[]): boolean {
  return columns.some(({ source, cast, keyMap }) => names.includes(source.name) && (cast ?? keyMap) !== undefined);
}

function keyFindings({ to }: TableMapping, keys: readonly MappedForeignKey[]): StructureFinding[] {
  return keys
    .filter(({ child, onTarget }) => tableId(child) === tableId(to) && onTarget !== 'valid')
    .map(({ name, columns, parent, onTarget }) => {
      const what = onTarget === 'absent' ? 'is missing' : 'is not validated';
      return { message: `the foreign key ${name} (${columns.join(', ')}) to ${showTable(parent)} ${what}` };
    });
}
