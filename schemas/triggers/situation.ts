/** What state and audit trail say to the triggers. Guarantee: pure; armed and fired are of this epoch only, so a later cut-over begins anew. */
import type { AuditRecord } from '../migration/audit-record.ts';
import type { MigrationRow } from '../migration/migration-row.ts';
import { lastCutover } from '../migration/observed-time.ts';
import { blockIn, numberIn, textIn } from '../report/details.ts';

export interface Situation {
  readonly epoch: string;
  /** By the clock that dates the samples. */
  readonly flippedAtMs: number;
  /** By trigger; undefined: not armed yet. */
  readonly baselines: Readonly<Record<string, number>> | undefined;
  readonly fired: ReadonlySet<string>;
}

export const ARMED_EVENT = 'triggers-armed';
export const FIRED_EVENT = 'trigger-fired';

/**
 * Undefined: the target does not serve, or something is under way, so there is nothing to watch.
 * @param aheadMs of the target's clock, which dates the audit trail, before the one that dates the samples
 */
export function situationOf(row: MigrationRow | undefined, audit: readonly AuditRecord[], aheadMs: number): Situation | undefined {
  if (row?.state !== 'observing') return undefined;
  const flip = lastCutover(audit);
  if (flip === undefined) return undefined;
  const since = audit.filter(({ seq }) => seq > flip.seq);
  const armed = since.findLast(({ event }) => event === ARMED_EVENT);
  const baselines = armed && (blockIn(armed.details, 'baselines') ?? {});
  const fired = since.filter(({ event, details }) => event === FIRED_EVENT && details['rehearsed'] !== true);
  return {
    epoch: textIn(flip.details, 'epoch') ?? String(row.epoch),
    flippedAtMs: Date.parse(flip.at) - aheadMs,
    baselines:
      baselines &&
      Object.fromEntries(
        Object.keys(baselines).flatMap((name) => {
          const value = numberIn(baselines, name);
          return value === undefined ? [] : [[name, value] as const];
        }),
      ),
    fired: new Set(fired.flatMap(({ details }) => textIn(details, 'trigger') ?? [])),
  };
}
