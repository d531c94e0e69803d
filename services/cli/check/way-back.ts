/**
 * What the servers lack for the way back, before there is a cut-over. Guarantee: read-only, all at once, and told as warnings only, since a migration that is only followed needs none of it;
 * asked by the very checks of the forward direction, with the sides swapped.
 */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import { readSourceFacts, type SourceCheckInput, type SourceFacts } from '#connectors/source/postgres/preflight/source-check.ts';
import { SOURCE_CHECKS } from '#connectors/source/postgres/preflight/source-checks.ts';
import { checkStateSchema, checkTablePrivileges, checkTargetRowSecurity } from '#connectors/target/postgres/preflight/privileges.ts';
import { actingRemedy, actingTriggers } from '#connectors/target/postgres/preflight/acting-triggers.ts';
import { readTargetFacts } from '#connectors/target/postgres/preflight/target-check.ts';
import { cutoverOf } from '#schemas/config/cutover-schema.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { type Finding, messageOf } from '#schemas/errors.ts';
import { listNames, warningFinding } from '#schemas/finding.ts';
import { type CompiledMapping, tableId } from '#schemas/mapping/compiled-mapping.ts';
import { FAILOVER_SLOTS_FROM, otherSides, type ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import { isAccepted } from '#schemas/mapping/reverse/reverse-findings.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';

/** Stream, health, markers. */
const SESSIONS = 4;

/** `source` and `target` are the migration's. */
export interface Catalogs {
  readonly source: Catalog;
  readonly target: Catalog;
}

/** Nothing where nothing goes back, whatever the reason: that is told by itself (CF-8325). */
export async function checkWayBack(
  file: MigrationFile,
  { file: reverse, mapping }: ReverseDerivation,
  catalogs: Catalogs,
): Promise<Finding[]> {
  if (reverse === undefined || mapping === undefined || file.settings.log.kafka !== undefined) return [];
  try {
    await using stack = new AsyncDisposableStack();
    const open = async (url: string, role: 'source' | 'target'): Promise<pg.Client> => {
      const client = await connect(url, { applicationName: 'crossfade check', role });
      stack.defer(() => client.end());
      return client;
    };
    const read = await open(reverse.source.postgres, 'target');
    const write = await open(file.source.postgres, 'source');
    const facts = await readSourceFacts(read);
    const found = [
      ...(await ofStream({ client: read, facts, reverse, catalog: catalogs.target, mapping })),
      ...(await ofWrites(write, tablesOf(catalogs.source, mapping, 'to'))),
    ];
    return [
      ...found.filter(({ severity, code }) => severity !== 'info' && code !== 'CF-2004').map(toldOf),
      ...(await ofTriggers(write, file, mapping)),
      ...withoutFailover(file, facts),
    ];
  } catch (error) {
    // A connection that ended in the middle: the forward checks say what is wrong with the servers.
    return [warningFinding('CF-8205', `what the way back needs could not be looked at: ${messageOf(error)}`)];
  }
}

interface Reading {
  readonly client: pg.Client;
  readonly facts: SourceFacts;
  readonly reverse: MigrationFile;
  readonly catalog: Catalog;
  readonly mapping: CompiledMapping;
}

async function ofStream({ client, facts, reverse, catalog, mapping }: Reading): Promise<Finding[]> {
  const { name, source, settings } = reverse;
  const input: SourceCheckInput = {
    client,
    url: source.postgres,
    facts,
    catalog,
    tables: tablesOf(catalog, mapping, 'from'),
    untargeted: [],
    name,
    resumed: false,
    settings: {
      createSlot: settings.slot.create,
      failoverSlot: settings.slot.failover,
      createPublication: settings.publication.create,
      sessions: SESSIONS,
    },
  };
  const found: Finding[] = [];
  for (const { isOfStream, isOfMoment, run } of SOURCE_CHECKS)
    if (isOfStream === true && isOfMoment !== true) found.push(...(await run(input)));
  return found;
}

async function ofWrites(client: pg.Client, tables: readonly CatalogTable[]): Promise<Finding[]> {
  const facts = await readTargetFacts(client);
  return [
    ...(await checkTablePrivileges({ client, facts, tables: tables.map((table) => ({ table })) })),
    ...(await checkStateSchema({ client, facts })),
    ...(await checkTargetRowSecurity({ client, facts, tables: tables.map((table) => ({ table })) })),
  ];
}

/** Gate `triggers` closes on what the file does not accept. */
async function ofTriggers(client: pg.Client, file: MigrationFile, { tables }: CompiledMapping): Promise<Finding[]> {
  const { triggers, grant } = await actingTriggers(
    client,
    tables.map(({ to }) => to),
  );
  const { accept } = cutoverOf(file);
  const open = triggers.filter(({ table }) => !isAccepted(accept, { from: showTable(table) }));
  if (open.length === 0) return [];
  const names = listNames(open.map(({ title }) => title));
  const message = `for the way back: triggers of the source would change rows that come back, so that both sides differ: ${names}`;
  return [warningFinding('CF-8206', message, actingRemedy({ triggers: open, grant }))];
}

function tablesOf(catalog: Catalog, { tables }: CompiledMapping, side: 'from' | 'to'): CatalogTable[] {
  const named = new Set(tables.map((table) => tableId(table[side])));
  return catalog.tables.filter((table) => named.has(tableId(table)));
}

/** As the migration's file calls the sides. */
function toldOf({ message, remedy }: Finding): Finding {
  return warningFinding('CF-8205', `for the way back: ${otherSides(message)}`, otherSides(remedy));
}

function withoutFailover({ settings }: MigrationFile, { version }: SourceFacts): Finding[] {
  if (!settings.slot.failover || version >= FAILOVER_SLOTS_FROM) return [];
  const message = 'for the way back: the target is older than PostgreSQL 17, so no standby keeps its slot, whatever slot.failover says';
  return [warningFinding('CF-8205', message, 'Where the target fails over while it serves, the way back has lost its place: see CF-8203.')];
}
