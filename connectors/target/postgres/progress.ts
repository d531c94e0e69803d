/**
 * The progress rows on the target. Guarantee: a commit's progress is written in the transaction of its rows, and only by the
 * session that holds the epoch and stands where the row says; so every change is committed exactly once.
 */
import type pg from 'pg';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { formatLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import type { Pair, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type {
  ConflictCounts,
  Held,
  Mode,
  Position,
  Progress,
  Round,
  TableCounts,
  TableProgress,
  TableState,
} from '#connectors/target/target.ts';
import type { StatementResult, Wire } from './wire.ts';

const EPOCH_MS = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::bigint::text`;

/** Undefined when the migration has never run against this target (or the schema is not there). */
export async function readProgress(client: pg.ClientBase, name: string): Promise<Progress | undefined> {
  if ((await client.query(`SELECT WHERE to_regclass('crossfade.progress') IS NOT NULL`)).rowCount === 0) return undefined;
  const result = await client.query<Record<string, string | null>>(
    `SELECT epoch::text, mode, applied_lsn::text, log_offset::text, ${EPOCH_MS('commit_time')} AS commit_time, system_id, timeline::text,
       mapping_hash, instance, to_json(backends)::text AS backends, ${EPOCH_MS('updated_at')} AS updated_at FROM crossfade.progress WHERE name = $1`,
    [name],
  );
  const row = result.rows[0];
  if (row === undefined) return undefined;
  return {
    name,
    epoch: BigInt(row['epoch']!),
    mode: row['mode'] as Mode,
    appliedLsn: optional(row['applied_lsn'], parseLsn),
    logOffset: optional(row['log_offset'], Number),
    commitTimeMs: optional(row['commit_time'], Number),
    systemId: row['system_id'] ?? undefined,
    timeline: optional(row['timeline'], Number),
    mappingHash: row['mapping_hash']!,
    instance: row['instance']!,
    backends: JSON.parse(row['backends']!) as number[],
    updatedAtMs: Number(row['updated_at']),
  };
}

export async function readTableProgress(client: pg.ClientBase, name: string): Promise<readonly TableProgress[]> {
  const result = await client.query<Record<string, string | null>>(
    `SELECT source_schema, source_table, target_schema, target_table, state, log_offset::text, lsn::text, rows_copied::text,
       rows_estimated::text, changes_applied::text, error, held_key, held_offset::text, held_lsn::text,
       to_jsonb(p) ->> 'conflicts' AS conflicts -- who looks before the sink has taken over may find it without this column
     FROM crossfade.table_progress p WHERE name = $1 ORDER BY source_schema, source_table, target_schema, target_table`,
    [name],
  );
  return result.rows.map((row) => ({
    from: { schema: row['source_schema']!, name: row['source_table']! },
    to: { schema: row['target_schema']!, name: row['target_table']! },
    state: row['state'] as TableProgress['state'],
    logOffset: Number(row['log_offset']),
    lsn: optional(row['lsn'], parseLsn),
    rowsCopied: Number(row['rows_copied']),
    rowsEstimated: optional(row['rows_estimated'], Number),
    changesApplied: Number(row['changes_applied']),
    error: row['error'] ?? undefined,
    heldKey: row['held_key'] ?? undefined,
    heldOffset: optional(row['held_offset'], Number),
    heldLsn: optional(row['held_lsn'], parseLsn),
    conflicts: JSON.parse(row['conflicts'] ?? '{}') as ConflictCounts,
  }));
}

function optional<T>(value: string | null | undefined, parse: (text: string) => T): T | undefined {
  return value === null || value === undefined ? undefined : parse(value);
}

/** Ids of markers that are applied, the newest ones. */
export async function readMarkers(client: pg.ClientBase, name: string): Promise<readonly string[]> {
  const result = await client.query<{ id: string }>('SELECT id FROM crossfade.markers WHERE name = $1', [name]);
  return result.rows.map(({ id }) => id);
}

/** How one session proves its right to commit and records where it got to. */
export interface ProgressKeeper {
  /** Adds the statement that locks and reads; to be the first of a transaction. The last column of its row is `blocked_version`. */
  guard(wire: Wire): void;
  /** @throws PipelineError CF-5005 when another sink took over, CF-5006 when the target stands elsewhere. */
  check(results: readonly StatementResult[]): void;
  /** Adds the statements that record the position. */
  advance(wire: Wire, round: Round, position: Position): void;
  /** The transaction that recorded it is committed. */
  committed(position: Position): void;
}

/** One row of crossfade.table_progress, or the rows of one pair in crossfade.blocked: parameters 1 to 5, as `pairOf` gives them. */
export const PAIR = 'name = $1 AND source_schema = $2 AND source_table = $3 AND target_schema = $4 AND target_table = $5';

export function pairOf(name: string, { from, to }: Pair): readonly string[] {
  return [name, from.schema, from.name, to.schema, to.name];
}

/** Records that a table is held, in the transaction that goes on without it. */
export function writeHeld(wire: Wire, name: string, held: Held, position: Position | undefined): void {
  wire.execute(
    `UPDATE crossfade.table_progress SET state = 'held', error = $6, held_key = $7, held_offset = $8, held_lsn = $9, updated_at = now() WHERE ${PAIR}`,
    [
      ...pairOf(name, held.table),
      held.message,
      held.key,
      position === undefined ? null : String(position.offset),
      position === undefined ? null : formatLsn(position.lsn),
    ],
  );
}

/** Records states of tables as the log tells them. */
export function writeStates(wire: Wire, name: string, states: readonly TableState[]): void {
  for (const { table, state, rowsEstimated, error } of states) {
    wire.execute(
      `UPDATE crossfade.table_progress SET state = $6, rows_estimated = coalesce($7::bigint, rows_estimated), error = $8, updated_at = now() WHERE ${PAIR}`,
      [...pairOf(name, table), state, rowsEstimated === undefined ? null : String(rowsEstimated), error ?? null],
    );
  }
}

const PAIR_COLUMNS = 'source_schema, source_table, target_schema, target_table';
const PAIR_ARRAYS = '$2::text[], $3::text[], $4::text[], $5::text[]';
const SAME_PAIR = `(${qualified('p')}) = (${qualified('t')})`;

function qualified(alias: string): string {
  return PAIR_COLUMNS.split(', ')
    .map((column) => `${alias}.${column}`)
    .join(', ');
}

/** Parameters for `PAIR_ARRAYS`. */
function pairArrays(pairs: readonly Pair[]): readonly string[] {
  return (['from', 'to'] as const).flatMap((side) => [
    textArray(pairs.map((pair) => pair[side].schema)),
    textArray(pairs.map((pair) => pair[side].name)),
  ]);
}

/** Adds to the tables' counters. */
export function writeCounts(wire: Wire, name: string, counts: readonly TableCounts[]): void {
  wire.execute(
    `UPDATE crossfade.table_progress p SET rows_copied = rows_copied + t.copied, changes_applied = changes_applied + t.changed, updated_at = now()
     FROM unnest(${PAIR_ARRAYS}, $6::bigint[], $7::bigint[]) AS t (${PAIR_COLUMNS}, copied, changed)
     WHERE p.name = $1 AND ${SAME_PAIR}`,
    [
      name,
      ...pairArrays(counts.map((count) => count.table)),
      textArray(counts.map((count) => String(count.rowsCopied))),
      textArray(counts.map((count) => String(count.changesApplied))),
    ],
  );
}

const MARKERS_KEPT = 1000;

/** The one session of the consistent mode. */
export class ConsistentKeeper implements ProgressKeeper {
  readonly #name: string;
  readonly #epoch: bigint;
  #lsn: Lsn | undefined;
  #offset: number | undefined;

  constructor(progress: Pick<Progress, 'name' | 'epoch' | 'appliedLsn' | 'logOffset'>) {
    this.#name = progress.name;
    this.#epoch = progress.epoch;
    this.#lsn = progress.appliedLsn;
    this.#offset = progress.logOffset;
  }

  guard(wire: Wire): void {
    wire.execute(
      'SELECT epoch::text, applied_lsn::text, log_offset::text, blocked_version::text FROM crossfade.progress WHERE name = $1 FOR UPDATE',
      [this.#name],
    );
  }

  check(results: readonly StatementResult[]): void {
    if (!guarded('epoch')) return;
    const row = results[0]?.rows[0];
    if (row === undefined || BigInt(row[0]!) !== this.#epoch)
      throw new PipelineError('CF-5005', `another sink has taken over migration ${this.#name}`);
    const lsn = row[1] === null ? undefined : parseLsn(row[1]!);
    const offset = row[2] === null ? undefined : Number(row[2]);
    if (lsn === this.#lsn && offset === this.#offset) return;
    throw new PipelineError(
      'CF-5006',
      `the target shows ${row[1] ?? 'no'} applied LSN, this sink stands at ${this.#lsn === undefined ? 'none' : formatLsn(this.#lsn)}`,
    );
  }

  advance(wire: Wire, round: Round, position: Position): void {
    invariant(this.#offset === undefined || position.offset >= this.#offset, 'progress never moves back');
    writeMarkers(wire, this.#name, round, position.lsn);
    if (round.source !== undefined) {
      const { systemId, timeline } = round.source;
      wire.execute('UPDATE crossfade.progress SET system_id = $2, timeline = $3 WHERE name = $1', [this.#name, systemId, String(timeline)]);
    }
    writeStates(wire, this.#name, round.states);
    if (round.counts.length > 0) writeCounts(wire, this.#name, round.counts);
    wire.execute(
      `UPDATE crossfade.progress SET applied_lsn = CASE mode WHEN 'consistent' THEN $2::pg_lsn END, log_offset = $3,
         commit_time = to_timestamp($4::float8 / 1000), updated_at = clock_timestamp() WHERE name = $1`,
      [this.#name, formatLsn(position.lsn), String(position.offset), String(position.commitTimeMs)],
    );
  }

  committed(position: Position): void {
    if (this.#lsn !== undefined) this.#lsn = position.lsn;
    this.#offset = position.offset;
  }

  /** The change-over has written an applied LSN where there was none. */
  changedOver(lsn: Lsn, offset: number): void {
    this.#lsn = lsn;
    this.#offset = offset;
  }
}

function writeMarkers(wire: Wire, name: string, round: Round, lsn: Lsn): void {
  if (round.markers.length === 0) return;
  for (const id of round.markers) {
    wire.execute('INSERT INTO crossfade.markers (name, id, lsn) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [name, id, formatLsn(lsn)]);
  }
  wire.execute(
    `DELETE FROM crossfade.markers WHERE name = $1 AND applied_at < (SELECT applied_at FROM crossfade.markers WHERE name = $1
       ORDER BY applied_at DESC OFFSET ${MARKERS_KEPT} LIMIT 1)`,
    [name],
  );
}

/** One lane of the parallel mode: the rows of its tables, under the epoch. */
export class LaneKeeper implements ProgressKeeper {
  readonly #name: string;
  readonly #epoch: bigint;
  readonly #tables: readonly TableMapping[];

  constructor(name: string, epoch: bigint, tables: readonly TableMapping[]) {
    this.#name = name;
    this.#epoch = epoch;
    this.#tables = tables;
  }

  guard(wire: Wire): void {
    wire.execute('SELECT epoch::text, blocked_version::text FROM crossfade.progress WHERE name = $1 FOR SHARE', [this.#name]);
  }

  check(results: readonly StatementResult[]): void {
    if (!guarded('epoch')) return;
    const row = results[0]?.rows[0];
    if (row === undefined || BigInt(row[0]!) !== this.#epoch)
      throw new PipelineError('CF-5005', `another sink has taken over migration ${this.#name}`);
  }

  advance(wire: Wire, round: Round, position: Position): void {
    writeStates(wire, this.#name, round.states);
    if (round.counts.length > 0) writeCounts(wire, this.#name, round.counts);
    // A lane decodes from the lowest position of all tables on: a table that was ahead before the restart stays where it was.
    wire.execute(
      `UPDATE crossfade.table_progress p SET log_offset = greatest(log_offset, $6), lsn = greatest(lsn, $7)
       FROM unnest(${PAIR_ARRAYS}) AS t (${PAIR_COLUMNS}) WHERE p.name = $1 AND ${SAME_PAIR}`,
      [this.#name, ...pairArrays(this.#tables), String(position.offset), formatLsn(position.lsn)],
    );
  }

  committed(): void {}
}

/** A text[] literal. */
export function textArray(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`)).join(',')}}`;
}
