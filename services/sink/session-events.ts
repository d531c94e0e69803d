/** What a session is told and what it tells. */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Grain, Position } from '#connectors/target/target.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';

/** After a round that the target could not take as it was folded. */
export interface FinerGrain {
  readonly grain: Grain;
  readonly until: Offset;
}

export interface SessionEvents {
  readonly onCommitted: (position: Position, markers: readonly string[], consistent: boolean) => void;
  readonly onHeld: (table: TableMapping, message: string) => void;
  readonly onSetAside: (table: TableMapping, message: string) => void;
}
