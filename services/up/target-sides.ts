/**
 * The targets of a running instance together. Guarantee: what the log may forget, and what counts as applied, is what every one of them has;
 * one that is away holds back nothing but that.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import { PipelineError } from '#schemas/errors.ts';
import { maxLsn, minLsn, type Lsn } from '#schemas/lsn.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Sink } from '#services/sink/sink.ts';
import type { TargetSide } from './target-side.ts';

type TableName = Parameters<Sink['learn']>[0];

export class TargetSides {
  readonly all: readonly TargetSide[];

  constructor(all: readonly TargetSide[]) {
    this.all = all;
  }

  get #sinks(): readonly Sink[] {
    return this.all.map(({ sink }) => sink);
  }

  /** First record that some target still needs; undefined while one of them has shown no state. */
  neededOffset(): Offset | undefined {
    const offsets = this.#sinks.map((sink) => sink.applied()?.offset);
    if (!guarded('slowest-target')) return offsets.reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined);
    return offsets.reduce((lowest, offset) => (lowest === undefined || offset === undefined ? undefined : Math.min(lowest, offset)));
  }

  /** Every target shows at least this; undefined while one of them shows none. */
  appliedLsn(): Lsn | undefined {
    const applied = this.#sinks.map((sink) => sink.applied()?.lsn);
    return applied.reduce((lowest, lsn) => (lowest === undefined || lsn === undefined ? undefined : minLsn(lowest, lsn)));
  }

  /** Some target shows this. */
  highestLsn(): Lsn | undefined {
    const applied = this.#sinks.map((sink) => sink.applied()?.lsn).filter((lsn) => lsn !== undefined);
    return applied.length === 0 ? undefined : applied.reduce(maxLsn);
  }

  /** @throws PipelineError CF-1008 */
  named(name: string | undefined): TargetSides {
    if (name === undefined) return this;
    const found = this.all.filter((side) => side.name === name);
    if (found.length === 0) throw new PipelineError('CF-1008', `the migration has no target ${name}`);
    return new TargetSides(found);
  }

  async waitMarker(id: string, signal: AbortSignal): Promise<void> {
    this.throwFailure();
    await Promise.all(this.#sinks.map(async (sink) => sink.waitMarker(id, signal)));
  }

  learn(table: TableName, leaves: readonly number[]): void {
    for (const sink of this.#sinks) sink.learn(table, leaves);
  }

  /** Of one that was given up nothing is to be waited for. */
  throwFailure(): void {
    for (const { failure } of this.all) if (failure() !== undefined) throw failure();
  }

  /** @returns what leaves nothing connected, in words; undefined when all are. */
  missing(): string | undefined {
    const away = this.all.filter(({ sink }) => !sink.status().connected);
    if (away.length === 0) return undefined;
    const names = away.flatMap(({ name }) => name ?? []);
    return names.length === 0 ? 'connecting to the target' : `connecting to ${names.join(', ')}`;
  }
}
