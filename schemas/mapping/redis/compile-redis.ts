/**
 * File and source catalogue → mapping onto Redis. Guarantee: without an error, every row has one key, two rows never share one (within a
 * table or between tables), and all that a write needs of a row is in the stream; else all reasons why not, each with what mends it.
 */
import type { MigrationFile, TableEntry } from '#schemas/config/migration-file.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import { identityColumns, quoteTable, type Catalog } from '#schemas/table.ts';
import { compileMapping, hashTables, type MappingResult } from '../compile-mapping.ts';
import { tableId, type RedisMapping, type TableMapping } from '../compiled-mapping.ts';
import { FindingList } from '../finding-list.ts';
import { mayBeLeftOut } from '../left-out.ts';
import { resolveTables, type ResolvedTable } from '../resolve-tables.ts';
import { showTable } from '../table-pattern.ts';
import { encodeKeyPart, hashTag, mayMeet, parseKeyTemplate, templateColumns, type KeyTemplate } from './key-template.ts';
import { redisCatalog } from './redis-catalog.ts';

/** Field of a hash, and member of a JSON object, that holds the place of the row's last write. */
export const GUARD_FIELD = '_cf';

export interface RedisMappingResult extends MappingResult {
  readonly catalog: Catalog;
  readonly resolved: readonly ResolvedTable[];
}

export function compileRedisMapping(file: MigrationFile, source: Catalog): RedisMappingResult {
  const list = new FindingList(file.path);
  for (const entry of file.tables) checkEntry(entry, list);
  const plain = { ...file, tables: file.tables.map(withoutCasts) };
  const catalog = redisCatalog(plain, source);
  const compiled = compileMapping(plain, source, catalog);
  const resolved = resolveTables(plain, source, catalog, new FindingList(file.path));
  const entries = new Map(resolved.map((one) => [tableId(one.source), one]));
  const tables: TableMapping[] = [];
  for (const one of resolved) checkSource(one, list);
  checkSplits(resolved, list);
  for (const table of compiled.mapping?.tables ?? []) {
    const redis = compileTable(table, entries.get(tableId(table.from))!, { list, cluster: file.target.redis?.cluster === true });
    if (redis !== undefined) tables.push({ ...table, redis });
  }
  checkMeetings(tables, entries, list);
  const findings = [...compiled.findings, ...list.findings].toSorted(
    (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  );
  if (compiled.mapping === undefined || list.errorCount > 0) return { findings, catalog, resolved };
  return { mapping: { ...compiled.mapping, tables, hash: hashTables(tables) }, findings, catalog, resolved };
}

/** What stands in the file and has no meaning here. */
function checkEntry(entry: TableEntry, list: FindingList): void {
  const place = entry.redis ?? entry;
  for (const [name, column] of Object.entries(entry.columns)) {
    if (column.zone !== undefined || (column.cast !== undefined && column.cast.trim().toLowerCase() !== 'text'))
      list.error(
        'CF-4001',
        `column "${name}" is cast, and Redis has no types to cast to`,
        column,
        'Take cast and zone out: a value stands there as the text that PostgreSQL writes.',
      );
  }
  if (entry.onRowError !== undefined)
    list.error(
      'CF-4001',
      `rows of ${entry.from} cannot be set aside on a Redis target`,
      entry,
      'Take `onRowError: set-aside` out: a row that Redis refuses halts its table.',
    );
  if (entry.explode !== undefined)
    list.error('CF-4001', `rows of ${entry.from} are not taken apart on the way to Redis`, entry.explode, 'Take `explode` out.');
  if (entry.deletes !== undefined || (entry.truncates ?? 'apply') !== 'apply')
    list.error(
      'CF-4001',
      `rows of ${entry.from} that the source deletes or truncates go from Redis too: nothing else is offered there`,
      entry.deletes ?? entry,
      'Take `deletes` and `truncates` out.',
    );
  if (entry.key !== undefined || entry.refs !== undefined)
    list.error(
      'CF-4001',
      `the keys of ${entry.from} cannot be replaced on a Redis target, which has no map of them`,
      entry.key ?? Object.values(entry.refs!)[0]!,
      'Take `key` and `refs` out, or compute the key: `uuid5`.',
    );
  if (entry.redis?.ttlSeconds !== undefined && entry.redis.sets.length > 0)
    list.error('CF-4001', `${entry.from} has both ttl and sets: a row that expires could not leave its sets`, place, 'Write one of them.');
}

/** PostgreSQL's text is what passes anyway. */
function withoutCasts({
  deletes: _deletes,
  truncates: _truncates,
  key: _key,
  refs: _refs,
  explode: _explode,
  ...entry
}: TableEntry): TableEntry {
  const columns = Object.entries(entry.columns).map(([name, { cast: _cast, zone: _zone, ...column }]) => [name, column] as const);
  return { ...entry, columns: Object.fromEntries(columns) };
}

/** A table's progress and the places of its rows are kept by the source table there. */
function checkSplits(resolved: readonly ResolvedTable[], list: FindingList): void {
  for (const [source, group] of Map.groupBy(resolved, (one) => one.source)) {
    const [, second] = group;
    if (second === undefined) continue;
    const remedy = 'Name it in one entry, or give each a migration file of its own.';
    list.error('CF-4001', `${showTable(source)} goes to ${group.length} tables, and to Redis it can go once`, second.entry, remedy);
  }
}

/** A row that changes must come whole: what a JSON string or a set is made of, and the row under a changed key. */
function checkSource({ source, entry }: ResolvedTable, list: FindingList): void {
  if (identityColumns(source) === undefined) {
    list.error(
      'CF-2008',
      `${showTable(source)} has no key, so its rows have no key in Redis either`,
      entry,
      `Exclude it, or run on the source: ALTER TABLE ${quoteTable(source)} ADD PRIMARY KEY (…);`,
    );
    return;
  }
  const long = source.columns.find(
    (column) => mayBeLeftOut(column) && column.generated === '' && entry.columns[column.name]?.drop !== true,
  );
  if (long === undefined) return;
  const members = source.kind === 'p' ? source.leaves : [source];
  const partial = members.filter(({ replicaIdentity }) => replicaIdentity !== 'f');
  if (partial.length === 0) return;
  const sql = partial.slice(0, STATEMENTS_SHOWN).map((member) => `ALTER TABLE ${quoteTable(member)} REPLICA IDENTITY FULL;`);
  if (partial.length > sql.length) sql.push(`-- and ${partial.length - sql.length} more`);
  const message = `${showTable(source)} goes to Redis, and "${long.name}" may be left out of an update (unchanged TOAST), so its replica identity must be FULL`;
  list.error('CF-2008', message, entry, `Run on the source: ${sql.join(' ')}`);
}

const STATEMENTS_SHOWN = 50;

interface Context {
  readonly list: FindingList;
  readonly cluster: boolean;
}

function compileTable(table: TableMapping, { entry }: ResolvedTable, { list, cluster }: Context): RedisMapping | undefined {
  const place = entry.redis ?? entry;
  const before = list.errorCount;
  const wrong = (message: string, remedy?: string): void => list.error('CF-4001', `${showTable(table.to)}: ${message}`, place, remedy);
  if (table.columns.some(({ target }) => target === GUARD_FIELD))
    wrong(`the column name ${GUARD_FIELD} is our own`, `Rename it under columns.`);
  const key = readTemplate(entry.redis?.key ?? defaultKey(table), table, wrong);
  const sets = (entry.redis?.sets ?? []).map((text) => readTemplate(text, table, wrong)).filter((one) => one !== undefined);
  if (key !== undefined) checkKey(key, table, wrong);
  if (key !== undefined && cluster) checkSlots(key, sets, wrong);
  if (key === undefined || list.errorCount > before) return undefined;
  const { form = 'hash', ttlSeconds } = entry.redis ?? {};
  return { key, form, sets, ...(ttlSeconds !== undefined && { ttlSeconds }) };
}

function defaultKey({ to, targetKey }: TableMapping): string {
  return `${encodeKeyPart(to.schema)}.${encodeKeyPart(to.name)}:${targetKey.map((name) => `{${name}}`).join(':')}`;
}

type Wrong = (message: string, remedy?: string) => void;

function readTemplate(text: string, table: TableMapping, wrong: Wrong): KeyTemplate | undefined {
  const template = parseKeyTemplate(text);
  if (typeof template === 'string') {
    wrong(`the template ${text} is not valid: ${template}`, 'Write it like acct:{id} (docs/redis.md).');
    return undefined;
  }
  const names = table.columns.map(({ target }) => target);
  const unknown = templateColumns(template).find((name) => !names.includes(name));
  if (unknown === undefined) return template;
  wrong(
    `the template ${text} names the column "${unknown}", which the row does not have${didYouMean(unknown, names)}`,
    'Name a column as it is called on the target.',
  );
  return undefined;
}

/** All key columns and no other: a key that depended on more would change with the row, and nobody could tell the old one. */
function checkKey(key: KeyTemplate, { targetKey }: TableMapping, wrong: Wrong): void {
  const named = templateColumns(key);
  const missing = targetKey.find((name) => !named.includes(name));
  const other = named.find((name) => !targetKey.includes(name));
  if (missing !== undefined)
    wrong(`the key ${key.text} lacks the key column "${missing}", so two rows could have one key`, `Put {${missing}} into it.`);
  if (other !== undefined)
    wrong(`the key ${key.text} holds "${other}", which is no key column: the row would move whenever it changes`, `Take {${other}} out.`);
}

/** In a cluster a row and its sets are written by one call, so they must lie in one slot. */
function checkSlots(key: KeyTemplate, sets: readonly KeyTemplate[], wrong: Wrong): void {
  const tag = hashTag(key);
  if (tag !== undefined && tag.replaceAll(/\{[^}]*\}/g, '') === '')
    wrong(`the hash tag of ${key.text} may be empty`, 'Put a word into it, as in {{shop:{tenant}}}.');
  for (const set of sets) {
    if (tag !== undefined && hashTag(set) === tag) continue;
    wrong(
      `in a cluster the set ${set.text} must lie in the slot of its row ${key.text}`,
      'Give both the same hash tag: {{…}} with the same text in it.',
    );
  }
}

/** Keys of two tables, or of a table and a set, that could be the same. */
function checkMeetings(tables: readonly TableMapping[], entries: ReadonlyMap<string, ResolvedTable>, list: FindingList): void {
  tables.forEach((table, i) => {
    const { entry } = entries.get(tableId(table.from))!;
    const place = entry.redis ?? entry;
    const { key, sets } = table.redis!;
    for (const other of tables.slice(0, i)) {
      if (mayMeet(key, other.redis!.key))
        list.error(
          'CF-4001',
          `rows of ${showTable(other.to)} and ${showTable(table.to)} could have the same key: ${other.redis!.key.text} and ${key.text}`,
          place,
          'Begin each with a word of its own.',
        );
    }
    for (const other of tables) {
      for (const set of sets.filter((one) => mayMeet(one, other.redis!.key)))
        list.error(
          'CF-4001',
          `the set ${set.text} of ${showTable(table.to)} could be a row of ${showTable(other.to)}: ${other.redis!.key.text}`,
          place,
          'Begin each with a word of its own.',
        );
    }
  });
}
