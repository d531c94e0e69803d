/**
 * Text of a migration file → MigrationFile. Guarantee: either a file with every default filled in, or all that is wrong with it at
 * once, each finding with file, line and column; no value of the file (it may be a secret) is in any message. No I/O.
 */
import { catalogue } from '../error-catalogue.ts';
import type { Finding } from '../errors.ts';
import type { SchemaMigrations } from '../schema-history/schema-tools.ts';
import { buildApprovals } from './approvals-schema.ts';
import { buildBackup } from './backup-schema.ts';
import { buildChecks } from './checks-schema.ts';
import { buildConflict } from './conflict-schema.ts';
import { buildCutover } from './cutover-schema.ts';
import { explainIssues } from './explain-issue.ts';
import type { DeletesInput } from './deletes-schema.ts';
import { buildExplode } from './explode-schema.ts';
import type {
  ColumnEntry,
  DeletesEntry,
  FilterEntry,
  MigrationFile,
  NamedTarget,
  RedisEntry,
  ReverseEntry,
  TableEntry,
  TargetAddress,
} from './migration-file.ts';
import { migrationSchema, type ParsedMigration } from './migration-schema.ts';
import type { RedisTableInput } from './redis-schema.ts';
import type { ReverseInput } from './reverse-schema.ts';
import { buildSet, hidden, keysWrittenOut } from './build-set.ts';
import { keepsTextInSet } from './step-schema.ts';
import { checkTargets, defaultTarget } from './target-files.ts';
import { targetIssues, type TargetInput } from './target-schema.ts';
import { buildShadow, keepsTextInShadow } from './shadow-schema.ts';
import { buildTests, keepsTextInTests } from './test-schema.ts';
import { buildTriggers } from './triggers-schema.ts';
import { buildWaves, keepsTextInWaves } from './waves-schema.ts';
import { readYaml, type Path, type Place, type YamlSource } from './yaml-source.ts';

export interface MigrationText {
  /** As given by the operator; stands in findings. */
  readonly path: string;
  readonly text: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** No server is going to be asked: an address or a password may be missing from the environment. */
  readonly offline?: boolean;
}

export interface MigrationReading {
  /** Undefined when a finding is an error. */
  readonly file?: MigrationFile;
  readonly findings: readonly Finding[];
}

type ParsedTable = ParsedMigration['tables'][number];
type ParsedFilter = NonNullable<ParsedTable['where']>[string];

export function readMigrationFile(input: MigrationText): MigrationReading {
  const source = readYaml({ ...input, keepsText: isTextValue, ...(input.offline === true && { standIn }) });
  if (source.value === undefined) return { findings: source.findings };
  const parsed = migrationSchema.safeParse(source.value);
  // A value that could not be resolved is reported as such, not again as malformed.
  const known = new Set(source.findings.map((one) => `${one.line}:${one.column}`));
  const unfit = [...(parsed.success ? [] : parsed.error.issues), ...targetIssues(source.value)];
  const issues = explainIssues(unfit, source, input.path);
  const told = [...keyFindings(source, input.path), ...issues.filter((one) => !known.has(`${one.line}:${one.column}`))];
  const findings = [...source.findings, ...told].toSorted(byPlace);
  if (!parsed.success || unfit.length > 0) return { findings };
  const built = buildFile(parsed.data, source, input.path);
  const all = [...findings, ...built.findings].toSorted(byPlace);
  return all.length === 0 ? { file: built.file, findings: [] } : { findings: all };
}

/** For what is only read to connect; a key of a step decides values, so nothing stands in for it. */
function standIn(path: Path, whole: boolean): string | undefined {
  const [block, entry] = path;
  if (block !== 'source' && block !== 'target' && block !== 'targets' && block !== 'log') return undefined;
  if (!whole || block === 'log') return block === 'log' && entry === 'kafka' && path[2] === 'brokers' ? 'unset:1' : 'unset';
  // Each of several targets is a store of its own.
  const [kind, host] = block === 'targets' ? [path[2], `unset-${entry}`] : [entry, 'unset'];
  return kind === 'redis' ? `redis://${host}` : `postgres://${host}/unset`;
}

function keyFindings(source: YamlSource, path: string): Finding[] {
  const remedy = 'Put the key into a variable of the environment, and its name here.';
  return keysWrittenOut(source)
    .filter((at) => !source.findings.some((one) => isAt(one, source.valuePlace(at))))
    .map((at) => ({
      severity: 'error',
      code: 'CF-1004',
      message: 'a key is given by reference only, as ${ENV}',
      remedy,
      path,
      ...source.valuePlace(at),
    }));
}

function isAt(one: Finding, { line, column }: { readonly line: number; readonly column: number }): boolean {
  return one.line === line && one.column === column;
}

/** Within `where`, for values under `set` and those of soft deletes, a number or a boolean is the text that stands there: 7.50 is not 7.5. */
function isTextValue(path: Path): boolean {
  if (keepsTextInTests(path) || keepsTextInShadow(path) || keepsTextInWaves(path)) return true;
  if (path[0] !== 'tables' || path.length < 4) return false;
  if (path[2] === 'deletes') return path[4] === 'value' || path[4] === 'alive';
  if (path[2] === 'reverse') return path[3] === 'set' && keepsTextInSet(path.slice(5));
  return path[2] === 'where' || (path[2] === 'set' && keepsTextInSet(path.slice(4)));
}

function byPlace(a: Finding, b: Finding): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

function buildFile(parsed: ParsedMigration, source: YamlSource, path: string): { file: MigrationFile; findings: Finding[] } {
  const findings: Finding[] = [];
  const wrong = (message: string, at: Path): void => {
    const { remedy } = catalogue['CF-1004'];
    findings.push({ severity: 'error', code: 'CF-1004', message, remedy, path, ...source.valuePlace(at) });
  };
  const targets = namedTargets(parsed);
  checkTogether(parsed, targets, wrong);
  checkTargets({ ...parsed, targets }, wrong);
  if (parsed.backup !== undefined && (targets !== undefined || parsed.target?.postgres === undefined))
    wrong('what was saved is recorded in one PostgreSQL target: take `backup` out', ['backup']);
  const { copy, slot } = parsed;
  const { onRowError, ...sink } = parsed.sink;
  const file: MigrationFile = {
    path,
    name: parsed.name,
    source: { postgres: parsed.source.postgres },
    target: targets?.[0]?.address ?? addressOf(parsed.target!),
    ...(targets?.length === 1 && { targetName: targets[0]!.name }),
    ...(targets !== undefined && targets.length > 1 && { targets }),
    tables: parsed.tables.map((table, i) => ({
      ...buildTable(table, i, source, wrong),
      ...named(table.target ?? defaultTarget(targets)),
      ...((table.onRowError ?? onRowError) === 'set-aside' && { onRowError: 'set-aside' }),
    })),
    settings: {
      copy: withoutUndefined(copy),
      sink,
      slot: withoutUndefined(slot),
      publication: parsed.publication,
      heartbeatSeconds: parsed.heartbeatSeconds,
      reconcile: parsed.reconcile,
      log: buildLog(parsed.log),
    },
    ...(parsed.reverse === 'off' && { reverse: 'off' }),
    cutover: buildCutover(parsed.cutover),
    ...(parsed.schemaMigrations.length > 0 && { schemaMigrations: buildSchemaMigrations(parsed.schemaMigrations, targets, source) }),
    ...(parsed.schemaSteps.length > 0 && {
      schemaSteps: parsed.schemaSteps.map(({ target, ...step }, i) => ({
        ...step,
        ...named(target ?? defaultTarget(targets, 'postgres')),
        ...hidden(source, ['schemaSteps', i]),
      })),
    }),
    ...(parsed.checks.length > 0 && {
      checks: buildChecks(parsed.checks, source).map((entry) => ({
        ...entry,
        ...named(entry.target ?? defaultTarget(targets, 'postgres')),
      })),
    }),
    ...(parsed.approvals !== undefined && { approvals: buildApprovals(parsed.approvals) }),
    ...(parsed.flags !== undefined && { flags: withoutUndefined(parsed.flags) }),
    ...(parsed.repair !== undefined && { repair: withoutUndefined(parsed.repair) }),
    ...(parsed.shadow.length > 0 && {
      shadow: buildShadow(parsed.shadow, source).map((entry) => ({
        ...entry,
        ...named(entry.target ?? defaultTarget(targets, 'postgres')),
      })),
    }),
    ...buildSurroundings(parsed, { source, wrong }),
    ...(parsed.tests.length > 0 && { tests: buildTests(parsed.tests, { source, path, wrong }) }),
  };
  return { file, findings };
}

/** What stands around the move: people, watching, saving, waves. */
function buildSurroundings(
  parsed: ParsedMigration,
  { source, wrong }: { readonly source: YamlSource; readonly wrong: (message: string, at: Path) => void },
): Pick<MigrationFile, 'contacts' | 'cleanup' | 'triggers' | 'observe' | 'backup' | 'waves'> {
  return {
    ...(parsed.contacts !== undefined && { contacts: parsed.contacts }),
    ...(parsed.cleanup !== undefined && { cleanup: { afterMs: parsed.cleanup.after } }),
    ...(parsed.triggers.length > 0 && { triggers: buildTriggers(parsed.triggers) }),
    ...(parsed.observe !== undefined && { observe: parsed.observe }),
    ...(parsed.backup !== undefined && { backup: buildBackup(parsed.backup) }),
    ...(parsed.waves !== undefined && {
      waves: buildWaves(parsed.waves, parsed.name, { wrong, place: source.keyPlace(['waves']) }),
    }),
  };
}

/** Each entry may be right by itself: what this version does not do together, of targets, log, waves and strategies. */
function checkTogether(
  { target, tables, log, reconcile, shadow, cutover, waves, triggers }: ParsedMigration,
  targets: readonly NamedTarget[] | undefined,
  wrong: (message: string, at: Path) => void,
): void {
  if (log.kafka !== undefined && (targets?.length ?? 1) > 1)
    wrong('several targets take their rows from the embedded log in this version: take `kafka` out', ['log', 'kafka']);
  else if (log.kafka !== undefined && (targets?.[0]?.address ?? target)?.redis !== undefined)
    wrong('a Redis target takes its rows from the embedded log in this version: take `kafka` out', ['log', 'kafka']);
  if (waves !== undefined && (log.kafka !== undefined || targets !== undefined || target?.redis !== undefined))
    wrong('waves move into one PostgreSQL target, by the embedded log, in this version', ['waves']);
  if (waves !== undefined && (cutover.strategy === 'rename-swap' || cutover.strategy === 'dual-write'))
    wrong(`waves move by the strategy flip in this version, not by ${cutover.strategy}`, ['waves']);
  if (waves !== undefined && tables.some(({ conflict }) => conflict !== undefined))
    wrong('rows of a wave are written by one store at a time: take `conflict` out', ['waves']);
  if (log.kafka !== undefined && triggers.length > 0)
    wrong('nothing goes back over Kafka in this version, so nobody watches for a rollback: take `triggers` out, or `kafka`', ['triggers']);
  if (log.kafka !== undefined && (cutover.strategy === 'rename-swap' || cutover.strategy === 'dual-write'))
    wrong(`${cutover.strategy} needs the embedded log in this version: take \`kafka\` out`, ['cutover', 'strategy']);
  if (log.kafka !== undefined && reconcile.stream)
    wrong('the log is held against source and target in one process only in this version: take `stream` out', ['reconcile', 'stream']);
  if (targets === undefined && target?.redis !== undefined && shadow.length > 0)
    wrong('queries are asked of PostgreSQL targets only: take `shadow` out', ['shadow']);
  if (cutover.strategy === 'dual-write' && ((targets?.length ?? 1) > 1 || (targets?.[0]?.address ?? target)?.redis !== undefined))
    wrong('dual writes need one target, PostgreSQL', ['cutover', 'strategy']);
  if (reconcile.stream && tables.some(({ conflict }) => conflict !== undefined))
    wrong('the log is held against a target that nobody else writes: take `stream` out, or `conflict`', ['reconcile', 'stream']);
  tables.forEach((table, i) => {
    if (table.conflict !== undefined && log.kafka !== undefined)
      wrong('conflicts are told in one process only in this version: take `kafka` out, or `conflict`', ['tables', i, 'conflict']);
    const own = targets?.find(({ name }) => name === (table.target ?? defaultTarget(targets)))?.address ?? (targets ? undefined : target);
    if (own?.redis !== undefined && table.conflict !== undefined)
      wrong('rows of Redis are not held against a change: take `conflict` out', ['tables', i, 'conflict']);
    if (own !== undefined && own.redis === undefined && table.redis !== undefined)
      wrong('the target is not Redis, so `redis` has no meaning here', ['tables', i, 'redis']);
  });
}

function namedTargets({ targets }: ParsedMigration): readonly NamedTarget[] | undefined {
  return targets && Object.entries(targets).map(([name, address]) => ({ name, address: addressOf(address) }));
}

function named(target: string | undefined): { readonly target?: string } {
  return target === undefined ? {} : { target };
}

function buildSchemaMigrations(
  parsed: ParsedMigration['schemaMigrations'],
  targets: readonly NamedTarget[] | undefined,
  source: YamlSource,
): SchemaMigrations[] {
  const isList = Array.isArray((source.value as { readonly schemaMigrations: unknown }).schemaMigrations);
  return parsed.map((entry, i) => ({
    ...withoutUndefined(entry),
    ...(entry.on === 'target' && named(entry.target ?? defaultTarget(targets, 'postgres'))),
    ...source.valuePlace(isList ? ['schemaMigrations', i] : ['schemaMigrations', 'tool']),
  }));
}

function addressOf({ postgres, redis }: TargetInput): TargetAddress {
  return redis === undefined ? { postgres: postgres! } : { redis };
}

function buildLog({ retainBytes, kafka }: ParsedMigration['log']): MigrationFile['settings']['log'] {
  if (kafka === undefined) return { retainBytes };
  const { ssl, sasl, registrySsl, ...rest } = withoutUndefined(kafka);
  return {
    retainBytes,
    kafka: {
      ...rest,
      ...(registrySsl !== undefined && { registrySsl: withoutUndefined(registrySsl) }),
      ...(ssl !== undefined && { ssl: typeof ssl === 'boolean' ? ssl : withoutUndefined(ssl) }),
      ...(sasl !== undefined && { sasl: withoutUndefined(sasl) }),
    },
  };
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(object: T): Defined<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function buildTable(table: ParsedTable, index: number, source: YamlSource, wrong: (message: string, at: Path) => void): TableEntry {
  const at: Path = ['tables', index];
  const columns: Record<string, ColumnEntry> = {};
  const addColumn = (name: string, entry: ColumnEntry): void => {
    Object.defineProperty(columns, name, { value: entry, enumerable: true, configurable: true, writable: true });
  };
  for (const [name, entry] of Object.entries(table.columns)) {
    addColumn(name, { ...buildColumn(entry), ...source.keyPlace([...at, 'columns', name]) });
    if (typeof entry === 'object' && entry.drop === true && (entry.to ?? entry.cast ?? entry.zone) !== undefined) {
      wrong(`column "${name}" is dropped, so it has no to, cast or zone`, [...at, 'columns', name]);
    }
    if (typeof entry === 'object' && entry.cast !== undefined && entry.zone !== undefined) {
      wrong(`column "${name}" has both cast and zone: write one of them`, [...at, 'columns', name]);
    }
  }
  table.drop.forEach((name, i) => {
    const place = [...at, 'drop', i];
    if (Object.hasOwn(columns, name) && !columns[name]!.drop) wrong(`column "${name}" stands under both columns and drop`, place);
    else addColumn(name, { drop: true, ...source.valuePlace(place) });
  });
  return {
    from: table.from,
    ...(table.to !== undefined && { to: table.to, toPlace: source.valuePlace([...at, 'to']) }),
    exclude: table.exclude,
    columns,
    ...(Object.keys(table.set).length > 0 && { set: buildSet(table.set, [...at, 'set'], source) }),
    ...buildKey(table, at, source),
    unmapped: table.unmapped,
    ...(table.where !== undefined && { where: buildFilters(table.where, [...at, 'where'], source) }),
    existing: table.existing,
    ...buildConflict(table.conflict, source.keyPlace([...at, 'conflict'])),
    ...buildDeletes(table.deletes, source.keyPlace([...at, 'deletes'])),
    ...(table.truncates !== undefined && { truncates: table.truncates }),
    ...(table.explode !== undefined && { explode: buildExplode(table.explode, [...at, 'explode'], source) }),
    ...buildReverse(table.reverse, [...at, 'reverse'], source),
    ...(table.redis !== undefined && { redis: buildRedis(table.redis, [...at, 'redis'], source) }),
    ...source.valuePlace([...at, 'from']),
  };
}

function buildColumn(entry: ParsedTable['columns'][string]): Omit<ColumnEntry, 'line' | 'column'> {
  if (typeof entry === 'string') return { to: entry, drop: false };
  return {
    ...(entry.to !== undefined && { to: entry.to }),
    ...(entry.cast !== undefined && { cast: entry.cast }),
    ...(entry.zone !== undefined && { zone: entry.zone }),
    drop: entry.drop ?? false,
  };
}

function buildKey({ key, refs }: ParsedTable, at: Path, source: YamlSource): Pick<TableEntry, 'key' | 'refs'> {
  const placed = Object.entries(refs).map(([name, to]) => [name, { to, ...source.keyPlace([...at, 'refs', name]) }] as const);
  return {
    ...(key !== undefined && { key: { ...key, ...source.valuePlace([...at, 'key', 'surrogate']) } }),
    ...(placed.length > 0 && { refs: Object.fromEntries(placed) }),
  };
}

function buildDeletes(deletes: DeletesInput | undefined, place: Place): { readonly deletes?: DeletesEntry } {
  if (deletes === undefined || deletes === 'hard') return {};
  if (deletes === 'ignore') return { deletes: { mode: 'ignore', ...place } };
  const { column, value = 'true', alive, at } = deletes.soft;
  const flag = column === undefined ? undefined : { column, value, ...(alive !== undefined && { alive }) };
  return { deletes: { mode: 'soft', ...(flag !== undefined && { flag }), ...(at !== undefined && { at }), ...place } };
}

function buildReverse(reverse: ReverseInput | undefined, at: Path, source: YamlSource): { readonly reverse?: ReverseEntry } {
  if (reverse === undefined) return {};
  const place = source.keyPlace(at);
  if (reverse === 'none') return { reverse: { mode: 'none', ...place } };
  return { reverse: { mode: 'set', set: buildSet(reverse.set, [...at, 'set'], source), ...place } };
}

function buildRedis({ ttl, key, form, sets }: RedisTableInput, at: Path, source: YamlSource): RedisEntry {
  const place = source.keyPlace(at);
  return { form, sets, ...(key !== undefined && { key }), ...(ttl !== undefined && { ttlSeconds: ttl }), ...hidden(source, at), ...place };
}

function buildFilters(where: NonNullable<ParsedTable['where']>, at: Path, source: YamlSource): Record<string, FilterEntry> {
  return Object.fromEntries(
    Object.entries(where).map(([name, filter]) => {
      const place = [...at, name];
      return [name, { ...buildFilter(filter), ...hidden(source, place), ...source.keyPlace(place) }];
    }),
  );
}

function buildFilter(filter: ParsedFilter): FilterEntry {
  const negated = typeof filter === 'object' && filter !== null && !Array.isArray(filter);
  const values = negated ? filter.not : filter;
  const list = Array.isArray(values) ? values : [values];
  return { op: negated ? 'not-in' : 'in', values: list.map((value) => (value === null ? null : String(value))) };
}
