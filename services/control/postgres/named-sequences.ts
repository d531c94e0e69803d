/** What both sides have of sequences that applications call by name. Guarantee: asked over sessions that stand, so that no connection is waited for while writers wait. */
import { lookAheadNamed, type NamedOutlook, type SchemaPair, setNamed } from '#connectors/fence/postgres/named-sequences.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { quoteTable } from '#schemas/table.ts';
import type { FencePort } from '../flip/ports.ts';
import type { FlippedMigration } from './flipped-migration.ts';
import type { SideSessions } from './sessions.ts';

interface Parts {
  readonly migration: FlippedMigration;
  readonly sessions: SideSessions;
}

function pairsTo({ mapping }: FlippedMigration, to: Side): SchemaPair[] {
  const pairs = mapping.tables.map(({ from, to: target }) =>
    to === 'target' ? { from: from.schema, to: target.schema } : { from: target.schema, to: from.schema },
  );
  return [...new Map(pairs.map((pair) => [JSON.stringify([pair.from, pair.to]), pair])).values()];
}

export async function namedOutlooks({ migration, sessions }: Parts, to: Side): Promise<NamedOutlook[]> {
  // In one database both sides call the same one.
  if (migration.swap !== undefined) return [];
  return sessions.run(otherSide(to), async (from) =>
    sessions.run(to, async (client) => lookAheadNamed({ from, to: client }, pairsTo(migration, to))),
  );
}

/** Sets those, too. */
export function withNamedSequences(port: FencePort, side: Side, { migration, sessions }: Parts): FencePort {
  if (migration.swap !== undefined) return port;
  return {
    ...port,
    setSequences: async (values) => {
      const set = await port.setSequences(values);
      const named = await sessions.run(otherSide(side), async (from) =>
        sessions.run(side, async (to) => setNamed({ from, to }, pairsTo(migration, side))),
      );
      return [...set, ...named.map(({ sequence, was, next }) => ({ sequence: quoteTable(sequence), was: String(was), set: String(next) }))];
    },
  };
}
