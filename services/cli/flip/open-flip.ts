/** A migration as the flip engine needs it, from its file: both mappings, sessions, gates. Guarantee: what is opened is closed with it. */
import { hostname } from 'node:os';
import { FlagRecord } from '#connectors/target/postgres/flag-record.ts';
import { changeSettings, readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { deriveReverse, type ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { asNamed, swapsNames } from '#schemas/mapping/renames.ts';
import { acceptedOneWay } from '#schemas/mapping/reverse/reverse-findings.ts';
import { type BothCatalogs, keptOnTarget, tablesOfTargetAlone } from '#schemas/mapping/reverse/kept-on-target.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import { followWrites } from '#services/control/flip/follow-writes.ts';
import type { FlipPorts } from '#services/control/flip/ports.ts';
import { gatesPort } from '#services/control/gates/gates.ts';
import { databaseIdentity } from '#services/control/gates/left-by-names.ts';
import { liftGate } from '#services/control/gates/lift-gate.ts';
import { lagGate, reverseGate } from '#services/control/gates/path-gates.ts';
import { namesGate } from '#services/control/gates/names-gate.ts';
import { rightsGate } from '#services/control/gates/rights-gate.ts';
import { sequencesGate } from '#services/control/gates/sequences-gate.ts';
import { deadLettersGate, findingsGate, purityGate, tablesGate } from '#services/control/gates/table-gates.ts';
import { triggersGate } from '#services/control/gates/triggers-gate.ts';
import { wavesGates } from '#services/control/gates/waves-gate.ts';
import { transactionsGate } from '#services/control/gates/transactions-gate.ts';
import { hooksPort } from '#services/control/hooks/run-hook.ts';
import { fencePort } from '#services/control/postgres/fence-port.ts';
import { type FlippedMigration, flippedMigration } from '#services/control/postgres/flipped-migration.ts';
import { withNamedSequences } from '#services/control/postgres/named-sequences.ts';
import { pipePort } from '#services/control/postgres/pipe-port.ts';
import { realClock } from '#services/control/postgres/real-clock.ts';
import { SideSessions } from '#services/control/postgres/sessions.ts';
import { statePort } from '#services/control/postgres/state-port.ts';
import { randomUUID } from 'node:crypto';
import type { Logger } from '#services/runtime/service.ts';
import { readFit } from '../catalogs.ts';
import type { CommandContext } from '../command.ts';
import { comparePort } from './compare-port.ts';
import { fileGates } from './file-gates.ts';

export interface OpenFlip extends AsyncDisposable {
  readonly migration: FlippedMigration;
  readonly ports: FlipPorts;
  readonly planHash: string;
  readonly reverse: ReverseDerivation;
}

/** What is needed of a command. */
export interface FlipContext {
  readonly log: Logger;
  readonly io: Pick<CommandContext['io'], 'environment'>;
}

/** How long somebody else's act (a recovery, most of the time) is waited for. */
const LEASE_WAIT_MS = 15_000;

/** @throws PipelineError where file and catalogues do not fit, or a server cannot be reached */
export async function openFlip(file: MigrationFile, context: FlipContext, by: string): Promise<OpenFlip> {
  const { mapping, source, target } = await readFit(file);
  const hash = planHash(file, mapping);
  const reverse: ReverseDerivation = target === undefined ? { tables: [] } : deriveReverse(file, mapping, { source, target });
  const direction =
    reverse.file !== undefined && reverse.mapping !== undefined ? { file: reverse.file, mapping: reverse.mapping } : undefined;
  const migration = flippedMigration(file, mapping, direction);
  const { urls, name, cutover } = migration;
  await using stack = new AsyncDisposableStack();
  const sessions = stack.use(new SideSessions(urls, name));
  if (migration.swap === undefined) await requireTwoDatabases(sessions);
  const pipe = pipePort(migration, sessions);
  const tables = { migration, sessions };
  const kept = target === undefined ? [] : keptOf(file, asNamed(mapping), { reverse, source, target });
  const gates = [
    lagGate({ migration, pipe }),
    reverseGate({ migration, pipe, sessions, acceptedOneWay: acceptedOneWay(reverse, cutover.accept) }),
    tablesGate(tables),
    deadLettersGate(tables),
    findingsGate(tables),
    purityGate(tables),
    transactionsGate(tables),
    liftGate(tables),
    rightsGate(tables),
    triggersGate(tables),
    sequencesGate(tables),
    ...(migration.swap === undefined ? [] : [namesGate(tables)]),
    ...wavesGates(tables),
    ...fileGates({ ...tables, planHash: hash, reverseTables: reverse.tables, kept }),
  ];
  const ports: FlipPorts = {
    clock: realClock,
    state: statePort(migration, sessions, { holder: holderOf(by), waitMs: LEASE_WAIT_MS, planHash: hash }),
    fences: {
      source: withNamedSequences(fencePort(migration, 'source'), 'source', tables),
      target: withNamedSequences(fencePort(migration, 'target'), 'target', tables),
    },
    pipe,
    compare: comparePort(migration, context.log),
    reverse: {
      want: async (who) => wantReverse(migration, who),
      unwant: async (who) => changeSettings(urls.target, name, { reverseWanted: false }, { actor: who, event: 'reverse-unwanted' }),
    },
    gates: gatesPort(gates),
    flags: { announce: async () => followWrites(cutover, () => new FlagRecord(urls.target, name), { by, freshSalt: randomUUID() }) },
    hooks: hooksPort({ name, ...cutover.hooks, environment: context.io.environment }),
  };
  const open = stack.move();
  return { migration, ports, planHash: hash, reverse, [Symbol.asyncDispose]: async () => open.disposeAsync() };
}

/** Of one database a rollback leaves everything where it is. */
function keptOf(file: MigrationFile, mapping: CompiledMapping, catalogs: BothCatalogs & { readonly reverse: ReverseDerivation }): string[] {
  const columns = keptOnTarget(mapping, catalogs.reverse, catalogs.target);
  if (catalogs.reverse.file === undefined || swapsNames(file)) return columns;
  return [...columns, ...tablesOfTargetAlone(mapping, catalogs).map((table) => `table ${table}`)];
}

/** Asked of the servers: one database can have many addresses, and many one. @throws PipelineError CF-8341 */
async function requireTwoDatabases(sessions: SideSessions): Promise<void> {
  const [source, target] = await Promise.all([sessions.run('source', databaseIdentity), sessions.run('target', databaseIdentity)]);
  if (source !== target) return;
  throw new PipelineError('CF-8341', 'source and target are tables of one database: only names can be moved from one to the other', {
    remedy: 'Say cutover: { strategy: rename-swap } in the file (docs/rename-swap.md).',
  });
}

async function wantReverse({ file, reverse, urls, name }: FlippedMigration, actor: string): Promise<boolean> {
  if (file.reverse === 'off' || reverse === undefined) return false;
  if ((await readState(urls.target, name))?.reverseWanted === true) return false;
  await changeSettings(urls.target, name, { reverseWanted: true }, { actor, event: 'reverse-wanted' });
  return true;
}

export function holderOf(by: string): string {
  return `${by}, ${hostname()}, process ${process.pid}`;
}
