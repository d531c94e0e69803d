/** Where a migration's flags are kept and where they are pushed to: the ports. */
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import type { RulesChange } from '#schemas/flags/read-rules.ts';

/** Whoever changes rules, for the audit trail. */
export interface ChangedBy {
  readonly actor: string;
  readonly reason?: string;
}

export interface FlagStore {
  /** As the state row says now. Rejects while the store is away. */
  read(): Promise<FlagDocument>;
  /**
   * One change with its audit record, in one transaction. `ifVersion`: refused (CF-8403) unless the rules still have this version.
   * Resolves with what holds from then on.
   */
  change(change: RulesChange, by: ChangedBy, ifVersion?: number): Promise<FlagDocument>;
  close(): Promise<void>;
}

export interface FlagPush {
  /** False: what is there is newer than `document`, and stayed. Rejects while it cannot be reached. */
  push(document: FlagDocument): Promise<boolean>;
  close(): Promise<void>;
}
