/** State row and journals behind the flip's port. Guarantee: as connectors/target/postgres/migration-lease.ts says. */
import { setTimeout as delay } from 'node:timers/promises';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { type MigrationLease, takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { JournalRow } from '#schemas/migration/recovery.ts';
import type { Side } from '#schemas/migration/transitions.ts';
import type { StatePort } from '../flip/ports.ts';
import type { FlippedMigration } from './flipped-migration.ts';
import type { SideSessions } from './sessions.ts';

const RETRY_MS = 250;

export interface LeaseWish {
  readonly holder: string;
  /** How long somebody else's act is waited for. */
  readonly waitMs: number;
  /** Plan that an act begun by us is made under. */
  readonly planHash?: string;
}

export function statePort(migration: FlippedMigration, sessions: SideSessions, wish: LeaseWish): StatePort {
  const { name, urls } = migration;
  return {
    lease: async () => {
      const lease = await take(urls.target, name, wish);
      return {
        get row() {
          return lease.row;
        },
        lost: lease.lost,
        apply: async (event, change) =>
          lease.apply(event, { ...change, ...(wish.planHash !== undefined && event.endsWith('-begun') && { planHash: wish.planHash }) }),
        note: async (noted) => lease.note(noted),
        confirm: async () => lease.confirm(),
        release: async () => lease.release(),
      };
    },
    journals: async () => {
      const read = async (side: Side): Promise<JournalRow[]> => sessions.run(side, async (client) => readJournalRows(client, name));
      const [source, target] = await Promise.all([read('source'), read('target')]);
      return { source, target };
    },
  };
}

async function take(url: string, name: string, { holder, waitMs }: LeaseWish): Promise<MigrationLease> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    try {
      return await takeMigrationLease({ url, name, holder });
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'CF-8001' || performance.now() > deadline) throw error;
      await delay(RETRY_MS);
    }
  }
}
