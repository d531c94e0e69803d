/**
 * The keeper of a running instance: finishes or backs out a flip whose process is gone, mends the fences of one that is done, and knows the state for status. Guarantee: it begins no flip and
 * decides none; whatever it meets is tried again, and ends nothing else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import { FlagRecord } from '#connectors/target/postgres/flag-record.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { type MigrationRow, phaseOfState } from '#schemas/migration/migration-row.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { recover } from '#services/control/flip/engine.ts';
import { followWrites } from '#services/control/flip/follow-writes.ts';
import { neededMending } from '#services/control/flip/mend.ts';
import type { RecoveryPorts } from '#services/control/flip/ports.ts';
import { hooksPort } from '#services/control/hooks/run-hook.ts';
import { fencePort } from '#services/control/postgres/fence-port.ts';
import { type FlippedMigration, flippedMigration } from '#services/control/postgres/flipped-migration.ts';
import { realClock } from '#services/control/postgres/real-clock.ts';
import { SideSessions } from '#services/control/postgres/sessions.ts';
import { statePort } from '#services/control/postgres/state-port.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { ServingSide } from './reverse/serving-side.ts';

const LOOK_EVERY_MS = 500;
const AGAIN_MS = 2_000;
/** The journals are held against the state this often while nothing is under way: a forced rollback knows nothing of the state. */
const JOURNALS_EVERY_MS = 10_000;
const BY = `crossfade up on ${hostname()}`;

export class FlipKeeper {
  readonly #options: Pick<RunUpOptions, 'file' | 'environment'>;
  readonly #mapping: CompiledMapping;
  readonly #serving: ServingSide;
  readonly #logger: Logger;
  #client: pg.Client | undefined;
  #row: MigrationRow | undefined;
  #journalsAt = -Infinity;
  #told = '';
  /** State, journals and fences contradict each other: a person has to look. */
  #contradiction: string | undefined;

  constructor(options: Pick<RunUpOptions, 'file' | 'environment' | 'logger'>, mapping: CompiledMapping, serving: ServingSide) {
    this.#options = options;
    this.#mapping = mapping;
    this.#serving = serving;
    this.#logger = options.logger;
  }

  /** With the phase and the side that the state says. */
  withPhase(status: StatusResult): StatusResult {
    const row = this.#row;
    if (row === undefined) return status;
    const contradiction = this.#contradiction;
    return {
      ...status,
      phase: phaseOfState(row.state, status.phase),
      serves: row.serves,
      ...(contradiction !== undefined && { contradiction }),
    };
  }

  /** Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const wasRight = await this.#look(signal);
      await delay(wasRight ? LOOK_EVERY_MS : AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
    await this.#hangUp();
  }

  async #look(signal: AbortSignal): Promise<boolean> {
    try {
      this.#client ??= await connect(this.#options.file.target.postgres!, { applicationName: 'crossfade keeper', role: 'target' });
      this.#row = await readStateRow(this.#client, this.#options.file.name);
      if (this.#row !== undefined && !signal.aborted && (await this.#isLeft(this.#row))) await this.#recover();
      this.#told = '';
      this.#contradiction = undefined;
      return true;
    } catch (error) {
      this.#tell(error);
      if (error instanceof PipelineError && error.code === 'CF-8005') this.#contradiction = error.message;
      await this.#hangUp();
      // What failed over meanwhile may have lost a decision.
      this.#journalsAt = -Infinity;
      return false;
    }
  }

  async #hangUp(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  /** Once, at journals and fences too. Never rejects. */
  async lookNow(signal: AbortSignal): Promise<void> {
    this.#journalsAt = -Infinity;
    await this.#look(signal);
    await this.#hangUp();
  }

  /** Something that nobody works on. */
  async #isLeft(row: MigrationRow): Promise<boolean> {
    if (row.lease?.isHeld === true) return false;
    if (row.act !== undefined) return true;
    if (row.epoch === 0n || performance.now() - this.#journalsAt < JOURNALS_EVERY_MS) return false;
    this.#journalsAt = performance.now();
    if ((await this.#serving.ask()) !== row.serves) return true;
    return this.#withPorts(async (ports) => (await neededMending(ports, row, await ports.state.journals())).do !== 'nothing');
  }

  async #recover(): Promise<void> {
    const left = await this.#withPorts(async (ports, { settings }) => recover(ports, settings, { by: BY }));
    if (left === undefined) return;
    const { outcome, raised } = left;
    const epoch = String(left.epoch);
    if (raised === undefined) return this.#logger.warn({ epoch, outcome }, 'A flip that its process had left was recovered');
    this.#logger.error(
      { epoch, outcome, side: raised },
      `The ${raised} did not know that the other side serves, and could be written; it is fenced again. crossfade verify tells which rows it took, and which it lost`,
    );
  }

  async #withPorts<T>(work: (ports: RecoveryPorts, migration: FlippedMigration) => Promise<T>): Promise<T> {
    const { file, environment } = this.#options;
    const migration = flippedMigration(file, this.#mapping, undefined);
    const { urls, name, cutover } = migration;
    await using sessions = new SideSessions(urls, name);
    const ports: RecoveryPorts = {
      clock: realClock,
      state: statePort(migration, sessions, { holder: `${BY}, process ${process.pid}`, waitMs: 0 }),
      fences: { source: fencePort(migration, 'source'), target: fencePort(migration, 'target') },
      flags: { announce: async () => followWrites(cutover, () => new FlagRecord(urls.target, name), { by: BY, freshSalt: randomUUID() }) },
      hooks: hooksPort({ name, ...cutover.hooks, environment }),
    };
    return await work(ports, migration);
  }

  /** The same trouble once. */
  #tell(error: unknown): void {
    const message = messageOf(error);
    if (message === this.#told || (error instanceof PipelineError && error.code === 'CF-8001')) return;
    this.#told = message;
    this.#logger.error({ error: message }, 'The state of the migration could not be kept; it is tried again');
  }
}

/** Undefined: the target keeps no state. */
export function flipKeeper(
  options: Pick<RunUpOptions, 'file' | 'environment' | 'logger'>,
  mapping: CompiledMapping,
  serving: ServingSide,
): FlipKeeper | undefined {
  const { file } = options;
  return file.targets !== undefined || file.target.postgres === undefined ? undefined : new FlipKeeper(options, mapping, serving);
}
